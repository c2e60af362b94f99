//! What an API token may do.

use std::fmt;

/// What an API token may do.
///
/// The first four contain one another: an editor may do whatever a viewer may. The last two stand apart, because what
/// they open is of another kind: `edge` is handed signing keys, which no person needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Reads everything but secrets.
    Viewer,
    /// Prepares: writes what no edge sees yet.
    Editor,
    /// Changes what edges serve.
    Publisher,
    /// Keys, tokens and environments.
    Admin,
    /// An edge: fetches what it serves, signing keys included, and reports.
    Edge,
    /// A server that sends events.
    Ingest,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 6] =
        [Self::Viewer, Self::Editor, Self::Publisher, Self::Admin, Self::Edge, Self::Ingest];

    /// The word that the API and the store use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Publisher => "publisher",
            Self::Admin => "admin",
            Self::Edge => "edge",
            Self::Ingest => "ingest",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == text)
    }

    /// Whether a token of this scope may do what `needed` may.
    pub fn allows(self, needed: Self) -> bool {
        match (self.rank(), needed.rank()) {
            (Some(has), Some(needs)) => has >= needs,
            _ => self == needed,
        }
    }

    /// Place in the order of those that contain one another.
    const fn rank(self) -> Option<u8> {
        match self {
            Self::Viewer => Some(1),
            Self::Editor => Some(2),
            Self::Publisher => Some(3),
            Self::Admin => Some(4),
            Self::Edge | Self::Ingest => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_contain_one_another_and_machines_stand_apart() {
        let people = [Scope::Viewer, Scope::Editor, Scope::Publisher, Scope::Admin];
        for (has_place, has) in people.into_iter().enumerate() {
            for (needs_place, needs) in people.into_iter().enumerate() {
                assert_eq!(has.allows(needs), has_place >= needs_place, "{has} does {needs}");
            }
        }
        for apart in [Scope::Edge, Scope::Ingest] {
            for other in Scope::ALL {
                assert_eq!(apart.allows(other), apart == other, "{apart} does {other}");
                assert_eq!(other.allows(apart), apart == other, "{other} does {apart}");
            }
        }
    }

    #[test]
    fn words_read_back() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(Scope::parse("Admin"), None);
    }
}
