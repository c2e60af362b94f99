//! Just enough of PostgreSQL's protocol to run a statement: a driver is a heavy thing to have in every crate's tests.
//!
//! <https://www.postgresql.org/docs/17/protocol-message-formats.html>; SCRAM-SHA-256 as in RFC 5802 and RFC 7677,
//! without checking that the server knows the password too.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac as _};
use sha2::{Digest as _, Sha256};

use super::unique;

const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const PROTOCOL: i32 = 3 << 16;

/// Where a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: String,
    pub(super) database: String,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        // No error repeats the URL: it has a password.
        let form = || "the URL is not of the form postgres://user:password@host:port/database".to_owned();
        let rest = url.split_once("://").ok_or_else(form)?.1;
        let (login, place) = rest.rsplit_once('@').ok_or_else(form)?;
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (server, database) = place.split_once('/').unwrap_or((place, "postgres"));
        let (host, port) = server.rsplit_once(':').unwrap_or((server, "5432"));
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| form())?,
            user: user.to_owned(),
            password: password.to_owned(),
            database: database.split('?').next().unwrap_or_default().to_owned(),
        })
    }

    pub(super) fn url(&self, database: &str) -> String {
        let Self { host, port, user, password, .. } = self;
        format!("postgres://{user}:{password}@{host}:{port}/{database}")
    }
}

pub(super) struct Connection {
    stream: TcpStream,
}

impl Connection {
    pub(super) fn open(address: &Address) -> Result<Self, String> {
        let stream = TcpStream::connect((&*address.host, address.port)).map_err(told)?;
        stream.set_read_timeout(Some(ANSWER_WITHIN)).map_err(told)?;
        let mut connection = Self { stream };
        let mut hello = PROTOCOL.to_be_bytes().to_vec();
        let (user, database) = (decoded(&address.user), decoded(&address.database));
        for text in ["user", &*user, "database", &*database] {
            hello.extend_from_slice(text.as_bytes());
            hello.push(0);
        }
        hello.push(0);
        connection.send(None, &hello)?;
        let mut scram = Scram::default();
        loop {
            let (kind, body) = connection.receive()?;
            match (kind, body.split_first_chunk::<4>()) {
                (b'R', Some((code, data))) => match i32::from_be_bytes(*code) {
                    0 | 12 => {}
                    10 => connection.send(Some(b'p'), &scram.first())?,
                    11 => connection
                        .send(Some(b'p'), scram.last(data, &decoded(&address.password))?.as_bytes())?,
                    code => return Err(format!("the server asks for authentication of kind {code}")),
                },
                (b'Z', _) => return Ok(connection),
                (b'E', _) => return Err(complaint(&body)),
                _ => {}
            }
        }
    }

    pub(super) fn execute(&mut self, statement: &str) -> Result<(), String> {
        self.send(Some(b'Q'), format!("{statement}\0").as_bytes())?;
        let mut outcome = Ok(());
        loop {
            match self.receive()? {
                (b'E', body) => outcome = Err(complaint(&body)),
                (b'Z', _) => return outcome,
                _ => {}
            }
        }
    }

    fn send(&mut self, kind: Option<u8>, body: &[u8]) -> Result<(), String> {
        let length = i32::try_from(body.len() + 4).map_err(|error| error.to_string())?;
        let mut message: Vec<u8> = kind.into_iter().collect();
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(body);
        self.stream.write_all(&message).map_err(told)
    }

    fn receive(&mut self) -> Result<(u8, Vec<u8>), String> {
        let mut head = [0; 5];
        self.stream.read_exact(&mut head).map_err(told)?;
        let [kind, length @ ..] = head;
        let length = u32::from_be_bytes(length).saturating_sub(4);
        let mut body = Vec::new();
        (&self.stream).take(u64::from(length)).read_to_end(&mut body).map_err(told)?;
        Ok((kind, body))
    }
}

/// Resolves the `%40` of a URL.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let byte = escaped.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn told(error: std::io::Error) -> String {
    format!("PostgreSQL does not answer: {error}")
}

/// The message among the fields of an error.
fn complaint(body: &[u8]) -> String {
    let message = body.split(|byte| *byte == 0).find_map(|field| field.strip_prefix(b"M"));
    String::from_utf8_lossy(message.unwrap_or(body)).into_owned()
}

#[derive(Default)]
struct Scram {
    /// PostgreSQL goes by the name of the first message and ignores this one.
    user: &'static str,
    nonce: String,
}

impl Scram {
    fn first(&mut self) -> Vec<u8> {
        self.nonce = unique();
        let text = format!("n,,n={},r={}", self.user, self.nonce);
        let mut message = b"SCRAM-SHA-256\0".to_vec();
        message.extend_from_slice(&u32::try_from(text.len()).unwrap_or(0).to_be_bytes());
        message.extend_from_slice(text.as_bytes());
        message
    }

    fn last(&self, challenge: &[u8], password: &str) -> Result<String, String> {
        let challenge = String::from_utf8_lossy(challenge);
        let part = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name));
        let (Some(nonce), Some(salt), Some(rounds)) = (part("r="), part("s="), part("i=")) else {
            return Err("the server's SCRAM challenge cannot be read".into());
        };
        let salt = STANDARD.decode(salt).map_err(|error| error.to_string())?;
        let rounds: u32 = rounds.parse().map_err(|_| "the server's SCRAM rounds are no number")?;
        let salted = stretch(password.as_bytes(), &salt, rounds);
        let client_key = hmac(&salted, b"Client Key");
        let bare = format!("c=biws,r={nonce}");
        let signed = format!("n={},r={},{challenge},{bare}", self.user, self.nonce);
        let signature = hmac(&Sha256::digest(client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, mask)| key ^ mask).collect();
        Ok(format!("{bare},p={}", STANDARD.encode(proof)))
    }
}

/// PBKDF2 with HMAC-SHA-256, its first block.
fn stretch(password: &[u8], salt: &[u8], rounds: u32) -> [u8; 32] {
    let mut block = hmac(password, &[salt, &1_u32.to_be_bytes()].concat());
    let mut sum = block;
    for _ in 1..rounds {
        block = hmac(password, &block);
        for (sum, byte) in sum.iter_mut().zip(block) {
            *sum ^= byte;
        }
    }
    sum
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes keys of every length.
    let Ok(mut mac) = <Hmac<Sha256> as KeyInit>::new_from_slice(key) else { return [0; 32] };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scram_gives_the_proof_of_the_example_in_rfc_7677() {
        let scram = Scram { user: "user", nonce: "rOprNGfwEbeRWgbNEkqO".into() };
        let nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let challenge = format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
        assert_eq!(
            scram.last(challenge.as_bytes(), "pencil").unwrap(),
            format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
        );
    }

    #[test]
    fn urls_are_taken_apart_and_put_together() {
        let address = Address::parse("postgres://me:p%40ss@db.example:5433/main?sslmode=disable").unwrap();
        assert_eq!(
            (address.host.as_str(), address.port, address.database.as_str()),
            ("db.example", 5433, "main")
        );
        assert_eq!(address.url("other"), "postgres://me:p%40ss@db.example:5433/other");
        assert_eq!(decoded(&address.password), "p@ss");
        assert_eq!(Address::parse("postgres://me@db.example").unwrap().port, 5432);
        assert!(!Address::parse("postgres:secret").unwrap_err().contains("secret"));
    }
}
