//! The routes of the edge: their paths, their methods, and who may read them.

use http::Method;

/// What a path leads to; also how metrics name it, for a path itself may hold a unit id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    AssignmentsOfUnit,
    Assignments,
    Experiment,
    Status,
    Stream,
    Keyset,
    Jwks,
    Events,
    OfrepFlag,
    OfrepFlags,
    Health,
    Ready,
    Metrics,
    /// Anything else, whatever its path.
    Other,
}

impl Route {
    pub(crate) const ALL: [Self; 14] = [
        Self::AssignmentsOfUnit,
        Self::Assignments,
        Self::Experiment,
        Self::Status,
        Self::Stream,
        Self::Keyset,
        Self::Jwks,
        Self::Events,
        Self::OfrepFlag,
        Self::OfrepFlags,
        Self::Health,
        Self::Ready,
        Self::Metrics,
        Self::Other,
    ];

    /// The path, with `{…}` for one segment that is not empty.
    pub(crate) const fn pattern(self) -> &'static str {
        match self {
            Self::AssignmentsOfUnit => "/v1/assignments/{unit}",
            Self::Assignments => "/v1/assignments",
            Self::Experiment => "/v1/experiments/{key}",
            Self::Status => "/v1/status",
            Self::Stream => "/v1/stream",
            Self::Keyset => "/v1/keyset",
            Self::Jwks => "/.well-known/jwks.json",
            Self::Events => "/v1/events",
            Self::OfrepFlag => "/ofrep/v1/evaluate/flags/{key}",
            Self::OfrepFlags => "/ofrep/v1/evaluate/flags",
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Metrics => "/metrics",
            Self::Other => "other",
        }
    }

    /// The route of `path`.
    pub(crate) fn of(path: &str) -> Self {
        let leads_here = |route: &Self| match route.pattern().split_once('{') {
            None => path == route.pattern(),
            Some((prefix, _)) => {
                path.strip_prefix(prefix).is_some_and(|segment| !segment.is_empty() && !segment.contains('/'))
            }
        };
        Self::ALL.into_iter().find(leads_here).unwrap_or(Self::Other)
    }

    /// The methods that it answers, as the header `allow` lists them.
    pub(crate) const fn methods(self) -> &'static str {
        match self {
            Self::Assignments | Self::Events | Self::OfrepFlag | Self::OfrepFlags => "POST,OPTIONS",
            Self::AssignmentsOfUnit | Self::Status | Self::Stream | Self::Keyset | Self::Jwks => {
                "GET,HEAD,OPTIONS"
            }
            Self::Experiment | Self::Health | Self::Ready | Self::Metrics => "GET,HEAD",
            Self::Other => "",
        }
    }

    /// Whether it answers `method`.
    pub(crate) fn answers(self, method: &Method) -> bool {
        self.methods().split(',').any(|known| known == method.as_str())
    }

    /// Whether scripts of every origin may read its answers: what is answered there is either public or asked for by
    /// name, and no cookie or other ambient credential counts. The HMAC profile is not for browsers.
    pub(crate) const fn is_open(self) -> bool {
        match self {
            Self::AssignmentsOfUnit
            | Self::Assignments
            | Self::Status
            | Self::Stream
            | Self::Keyset
            | Self::Jwks
            | Self::Events
            | Self::OfrepFlag
            | Self::OfrepFlags => true,
            Self::Experiment | Self::Health | Self::Ready | Self::Metrics | Self::Other => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_leads_to_its_route() {
        for route in Route::ALL.into_iter().filter(|&route| route != Route::Other) {
            let path = route.pattern().replace("{unit}", "user%2F1").replace("{key}", "checkout");
            assert_eq!(Route::of(&path), route, "{path}");
            assert_eq!(route.is_open(), route.answers(&Method::OPTIONS), "{path}");
        }
    }

    #[test]
    fn nothing_near_a_route_leads_to_it() {
        for path in [
            "",
            "/",
            "*",
            "other",
            "/v1/assignments/",
            "/v1/assignments//",
            "/v1/assignments/a/b",
            "/v1/assignments/a/",
            "//v1/assignments/a",
            "/V1/assignments/a",
            "/v1/experiments",
            "/v1/experiments/",
            "/ofrep/v1/evaluate/flags/",
            "/healthz/",
            "/v1/assignments/{unit}/x",
        ] {
            assert_eq!(Route::of(path), Route::Other, "{path}");
        }
    }
}
