-- Writes the documents of an environment unless something newer is there, then tells the subscribers.
--
-- KEYS: the hash. ARGV: the channel, keyset_ver, cv, ep, status_iat, keyset, status, snapshot_signature, and the
-- snapshot or an empty string.
--
-- Replies with the outcome and what is held for each counter:
--   written   it is there now
--   wanted    nothing was done: the snapshot is needed, send it along
--   kept      what is there is as new
--   behind    what is there is newer

local key = KEYS[1]
local channel, keyset_ver, cv, ep, status_iat = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local keyset, status, signature, snapshot = ARGV[6], ARGV[7], ARGV[8], ARGV[9]

-- A status that claims to be this much younger than ours comes from a clock that was wrong. Believing it would keep
-- out every status until that time has come.
local CLOCKS_DIFFER_SECONDS = 60

-- Counters reach beyond the integers that Lua's numbers can hold, so they are compared as digits.
local function compare(mine, theirs)
    if #mine ~= #theirs then return #mine < #theirs and -1 or 1 end
    if mine == theirs then return 0 end
    return mine < theirs and -1 or 1
end

local function is_counter(text)
    return type(text) == 'string' and #text <= 20 and (text == '0' or string.match(text, '^[1-9]%d*$'))
end

-- What is there counts only if a control plane wrote it and it is whole.
local kind = redis.call('TYPE', key).ok
local held = nil
if kind == 'hash' then
    local fields = redis.call('HMGET', key, 'keyset_ver', 'cv', 'ep', 'status_iat')
    local whole = true
    for at = 1, 4 do whole = whole and is_counter(fields[at]) end
    for _, document in ipairs({ 'keyset', 'snapshot', 'status', 'snapshot_signature' }) do
        whole = whole and redis.call('HSTRLEN', key, document) > 0
    end
    if whole then held = fields end
end

if held then
    local forward = false
    for at, mine in ipairs({ keyset_ver, cv, ep }) do
        local order = compare(mine, held[at])
        if order < 0 then return { 'behind', held[1], held[2], held[3] } end
        forward = forward or order > 0
    end
    local ahead = tonumber(held[4]) - tonumber(status_iat)
    if not forward and ahead >= 0 and ahead <= CLOCKS_DIFFER_SECONDS then
        return { 'kept', held[1], held[2], held[3] }
    end
end

local same_snapshot = held and redis.call('HGET', key, 'snapshot_signature') == signature
if not same_snapshot and snapshot == '' then return { 'wanted' } end

if not held then redis.call('DEL', key) end
redis.call('HSET', key, 'keyset_ver', keyset_ver, 'cv', cv, 'ep', ep, 'status_iat', status_iat,
    'keyset', keyset, 'status', status)
if not same_snapshot then
    redis.call('HSET', key, 'snapshot', snapshot, 'snapshot_signature', signature)
end
redis.call('PUBLISH', channel, 'look')
return { 'written' }
