//! What must not be accepted: the token attack list, one named test each, over every kind it applies to.

mod at_rest;
mod claims;
mod fixtures;
mod forgery;
mod halts;
mod keys;
mod replay;
mod shape;
mod vectors;
mod wycheproof;
