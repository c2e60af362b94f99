-- Reads the documents of an environment as they belong together, without a snapshot that the reader has already.
--
-- KEYS: the hash. ARGV: the snapshot_signature that the reader has, the longest token, the longest snapshot.
--
-- Replies with
--   documents, keyset, status, snapshot_signature[, snapshot]
--   oversized, which, bytes
--   empty | foreign, what is there

local key = KEYS[1]
local known, longest_token, longest_snapshot = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local kind = redis.call('TYPE', key).ok
if kind == 'none' then return { 'empty' } end
if kind ~= 'hash' then return { 'foreign', 'not a hash' } end

-- Measured before they are read: nobody should have to make room for half a gigabyte to learn that it is too much.
for _, document in ipairs({ 'keyset', 'status', 'snapshot_signature', 'snapshot' }) do
    local bytes = redis.call('HSTRLEN', key, document)
    if bytes == 0 then return { 'foreign', 'a hash without ' .. document } end
    local longest = document == 'snapshot' and longest_snapshot or longest_token
    if bytes > longest then return { 'oversized', document, tostring(bytes) } end
end

local found = redis.call('HMGET', key, 'keyset', 'status', 'snapshot_signature')
if found[3] == known then return { 'documents', found[1], found[2], found[3] } end
return { 'documents', found[1], found[2], found[3], redis.call('HGET', key, 'snapshot') }
