//! Every operation of the API. Each file holds one family: request, rules, reply, failures and tests together.

mod apply;
mod audit;
pub(crate) mod call;
mod documents;
mod edges;
mod environments;
mod events;
mod experiments;
mod feed;
mod health;
mod keys;
mod operation;
mod parameter;
mod query;
mod results;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
mod tokens;
mod transitions;
mod whoami;

pub(crate) use call::MAX_IDEMPOTENCY_KEY_CHARS;
pub(crate) use edges::{REPORTS_WRITTEN_EVERY, Reports};
pub(crate) use operation::{Access, Handler, Operation, Presence, Reply};
pub(crate) use parameter::{KEY_PATTERN, NAME_PATTERN, Parameter};

/// Groups of operations in the document.
pub(crate) const TAGS: [(&str, &str); 10] = [
    ("experiments", "A/B tests and flags, and their life."),
    ("definitions", "Layers, holdouts, groups and metrics that experiments refer to."),
    ("apply", "A whole experiments file at once."),
    ("environments", "Separate worlds of experiments and keys."),
    ("keys", "Signing keys and HMAC secrets, and their rotation."),
    ("tokens", "API tokens."),
    ("edges", "Edges, and what they are handed."),
    ("events", "What clients, servers and edges report, and what does not count of it."),
    ("audit", "Who did what, in a chain of hashes."),
    ("process", "This process, for whoever watches it."),
];

/// Every operation.
pub(crate) fn all() -> Vec<Operation> {
    [
        health::operations(),
        whoami::operations(),
        environments::operations(),
        experiments::operations(),
        transitions::operations(),
        results::operations(),
        documents::operations::<documents::Layer>(),
        documents::operations::<documents::Holdout>(),
        documents::operations::<documents::Group>(),
        documents::operations::<documents::Metric>(),
        apply::operations(),
        keys::operations(),
        tokens::operations(),
        edges::operations(),
        events::operations(),
        feed::operations(),
        stream::operations(),
        audit::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A path below the base of the API.
fn at(path: &str) -> String {
    format!("{}{path}", operation::BASE)
}

#[cfg(test)]
mod tests;
