//! Two clocks compared over one request: the server's `Date`, whole seconds, against ours before and after.

use edgeseal_core::time::Timestamp;
use jiff::fmt::rfc2822;

use super::check::Check;

/// A difference that is certain and larger than this many milliseconds is worth a look.
const WARN_MS: i64 = 1_000;
/// And beyond this many it does harm: a status document lives for 30 seconds, and verifiers allow 60 either way.
const BAD_MS: i64 = 30_000;

/// Compares; `date` is the header of an answer that came between `asked` and `answered`.
pub(super) fn check(name: &'static str, date: Option<&str>, asked: Timestamp, answered: Timestamp) -> Check {
    let server =
        date.and_then(|date| rfc2822::parse(date).ok()).map(|time| time.timestamp().as_millisecond());
    let Some(server) = server else {
        return Check::skipped(name, "the answer names no time");
    };
    let difference = certain_ms(server, asked.unix_ms(), answered.unix_ms());
    let remedy = "set both clocks by NTP";
    match difference.abs() {
        0 => Check::good(name, "within a second of this machine's"),
        small @ ..=WARN_MS => Check::good(name, format_args!("{small} ms or more {}", direction(difference))),
        more @ ..=BAD_MS => {
            Check::warn(name, format_args!("{more} ms or more {}", direction(difference))).remedy(remedy)
        }
        more => Check::bad(
            name,
            format_args!(
                "{} s or more {}: signed documents look expired or not yet valid",
                more / 1_000,
                direction(difference)
            ),
        )
        .remedy(remedy),
    }
}

/// The least difference that explains what was seen; positive when the server is ahead. The server's time lies within
/// the second of `server_ms`, ours between `asked_ms` and `answered_ms`.
fn certain_ms(server_ms: i64, asked_ms: i64, answered_ms: i64) -> i64 {
    let (least, most) = (server_ms - answered_ms, server_ms + 999 - asked_ms);
    if least > 0 {
        least
    } else if most < 0 {
        most
    } else {
        0
    }
}

fn direction(difference: i64) -> &'static str {
    if difference > 0 { "ahead of this machine's" } else { "behind this machine's" }
}

#[cfg(test)]
mod tests {
    use super::super::check::Health;
    use super::*;

    #[test]
    fn only_what_is_certain_counts_as_a_difference() {
        assert_eq!(certain_ms(10_000, 10_400, 10_500), 0, "within the second");
        assert_eq!(certain_ms(10_000, 11_500, 11_600), -501);
        assert_eq!(certain_ms(15_000, 10_000, 14_000), 1_000, "the answer took four seconds");
    }

    #[test]
    fn the_verdict_follows_the_difference() {
        let at = |seconds: i64| {
            let now = Timestamp::from_unix_seconds(784_111_777 + seconds);
            check("clock", Some("Sun, 06 Nov 1994 08:49:37 GMT"), now, now).health
        };
        assert_eq!([at(0), at(1), at(3), at(-3)], [Health::Good, Health::Good, Health::Warn, Health::Warn]);
        assert_eq!([at(40), at(-3_600)], [Health::Bad, Health::Bad]);
        let now = Timestamp::from_unix_seconds(0);
        assert_eq!(check("clock", Some("soon"), now, now).health, Health::Skipped);
    }
}
