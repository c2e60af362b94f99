//! Real servers for tests: started on a free port, stopped and started again at will, gone with the test.

pub mod postgres;
mod redis;

pub use postgres::Postgres;
pub use redis::Redis;
