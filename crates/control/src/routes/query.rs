//! Query strings, read strictly: every parameter known, none twice, each within its bounds.

use std::borrow::Cow;

use edgeseal_core::ids::Environment;

use super::parameter::Parameter;
use crate::pagination::{self, Wanted};
use crate::problem::{Code, Problem, quote};

/// The parameters of a request.
#[derive(Debug, Default)]
pub(crate) struct Query {
    parameters: Vec<(&'static str, String)>,
}

impl Query {
    /// Reads a query string that may hold the parameters `known`.
    ///
    /// # Errors
    /// A problem for broken percent-encoding, unknown names and repetitions.
    pub(crate) fn parse(text: Option<&str>, known: &[Parameter]) -> Result<Self, Problem> {
        let mut parameters: Vec<(&'static str, String)> = Vec::new();
        for pair in text.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            let Some(parameter) = known.iter().find(|parameter| parameter.name == name) else {
                let names: Vec<String> = known.iter().map(|known| format!("'{}'", known.name)).collect();
                let takes = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
                let detail = format!("unknown parameter '{}'; this route takes {takes}", quote(&name));
                return Err(Problem::new(Code::UnknownParameter, detail));
            };
            if parameters.iter().any(|(taken, _)| *taken == parameter.name) {
                let detail = format!("the parameter '{name}' appears twice; send it once");
                return Err(Problem::new(Code::RepeatedParameter, detail));
            }
            parameters.push((parameter.name, value.into_owned()));
        }
        Ok(Self { parameters })
    }

    /// A parameter as text.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter as text of 1 to `limit` characters.
    pub(crate) fn text(&self, name: &'static str, limit: usize) -> Result<Option<&str>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let characters = value.chars().count();
        if characters == 0 || characters > limit || value.chars().any(char::is_control) {
            let detail = format!("'{name}' must have 1 to {limit} characters and no control characters");
            return Err(Problem::new(Code::InvalidParameter, detail));
        }
        Ok(Some(value))
    }

    /// A parameter as a whole number from `least` to `most`, written in one way only.
    pub(crate) fn number(&self, name: &'static str, least: u64, most: u64) -> Result<Option<u64>, Problem> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let plain = value.bytes().all(|byte| byte.is_ascii_digit())
            && (value == "0" || !value.starts_with('0'))
            && !value.is_empty();
        match value.parse::<u64>() {
            Ok(number) if plain && (least..=most).contains(&number) => Ok(Some(number)),
            _ => {
                let detail =
                    format!("'{name}' must be a whole number from {least} to {most}, not '{}'", quote(value));
                Err(Problem::new(Code::InvalidParameter, detail))
            }
        }
    }

    /// A parameter that has to be there.
    pub(crate) fn needed<T>(value: Option<T>, name: &'static str) -> Result<T, Problem> {
        value
            .ok_or_else(|| Problem::new(Code::InvalidParameter, format!("the parameter '{name}' is missing")))
    }

    /// The parameter `environment`.
    pub(crate) fn environment(&self) -> Result<Option<Environment>, Problem> {
        let Some(value) = self.get("environment") else { return Ok(None) };
        let invalid = |error| {
            let detail = format!("environment '{}' {error}", quote(value));
            Problem::new(Code::InvalidParameter, detail)
        };
        Environment::parse(value).map(Some).map_err(invalid)
    }

    /// The parameters `limit` and `cursor` of the list `list`.
    pub(crate) fn page(&self, list: &str) -> Result<Wanted, Problem> {
        let limit = self.number("limit", 1, pagination::MAX_LIMIT.into())?;
        let limit = limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(pagination::DEFAULT_LIMIT);
        let after = self.get("cursor").map(|cursor| pagination::decode(list, cursor)).transpose()?;
        Ok(Wanted { limit, after })
    }
}

fn decode(text: &str) -> Result<Cow<'_, str>, Problem> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let byte = tail.split_at_checked(2).and_then(|(digits, after)| {
                    rest = after;
                    let digit = |place: usize| char::from(*digits.get(place)?).to_digit(16);
                    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
                });
                bytes.push(byte.ok_or_else(malformed)?);
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).map(Cow::Owned).map_err(|_| malformed())
}

fn malformed() -> Problem {
    Problem::new(Code::MalformedQuery, "the query string is not percent-encoded UTF-8 (RFC 3986 section 2.1)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> [Parameter; 4] {
        [Parameter::environment(), Parameter::limit(), Parameter::cursor(), Parameter::text("q", 8, "…")]
    }

    fn query(text: &str) -> Result<Query, &'static str> {
        Query::parse(Some(text), &known()).map_err(|problem| problem.code().as_str())
    }

    #[test]
    fn parameters_are_decoded_once() {
        assert_eq!(query("q=a%20b+c").unwrap().get("q"), Some("a b c"));
        assert_eq!(query("q=%2541").unwrap().get("q"), Some("%41"));
        assert_eq!(query("%71=%E7%94%A8").unwrap().get("q"), Some("用"));
        assert_eq!(query("").unwrap().get("q"), None);
    }

    #[test]
    fn unknown_repeated_and_broken_parameters_are_refused() {
        for (text, code) in [
            ("utm_source=x", "unknown_parameter"),
            ("Q=x", "unknown_parameter"),
            ("q=a&q=a", "repeated_parameter"),
            ("q=a&%71=b", "repeated_parameter"),
            ("q=%", "malformed_query"),
            ("q=%4", "malformed_query"),
            ("q=%zz", "malformed_query"),
            ("q=%+1", "malformed_query"),
            ("q=%ff", "malformed_query"),
        ] {
            assert_eq!(query(text).unwrap_err(), code, "{text}");
        }
    }

    #[test]
    fn texts_numbers_and_environments_are_bounded() {
        let code = |problem: Problem| problem.code().as_str();
        for bad in ["q=", "q=123456789", "q=a%00b"] {
            assert_eq!(query(bad).unwrap().text("q", 8).map_err(code), Err("invalid_parameter"), "{bad}");
        }
        for bad in
            ["limit=0", "limit=201", "limit=+1", "limit=01", "limit=1.0", "limit=", "limit=-1", "limit=1e1"]
        {
            assert_eq!(query(bad).unwrap().page("x").map_err(code), Err("invalid_parameter"), "{bad}");
        }
        assert_eq!(query("limit=200").unwrap().page("x").unwrap(), Wanted { limit: 200, after: None });
        for bad in ["environment=", "environment=a/b", &format!("environment={}", "e".repeat(65))] {
            assert_eq!(query(bad).unwrap().environment().map_err(code), Err("invalid_parameter"), "{bad}");
        }
    }
}
