//! Spoiling the form: bytes, base64url, and JSON that readers may understand differently.

use super::dice::Dice;

const NUMBERS: [&str; 34] = [
    "0",
    "-0",
    "1",
    "-1",
    "00",
    "01",
    "+1",
    "1.",
    ".5",
    "1.0",
    "3.0",
    "1e0",
    "1E3",
    "1e-3",
    "1e+2",
    "0.1",
    "-1.5e300",
    "1e308",
    "1e309",
    "-1e400",
    "1e-400",
    "0e999",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "1800000000.0",
    "18e8",
    "0x10",
    "NaN",
    "Infinity",
    "1_000",
];

const STRINGS: [&str; 36] = [
    r#""""#,
    r#""a""#,
    r#""\ud800""#,
    r#""\udfff""#,
    r#""\ud83d\ude00""#,
    r#""\ud83d\ud83d\ude00""#,
    r#""\ude00\ud83d""#,
    r#""\\ud800""#,
    r#""\\\ud800""#,
    r#""\u0000""#,
    r#""\u00e9\/\b\f\n\r\t\"""#,
    r#""\x41""#,
    r#""\u12""#,
    r#""\u{41}""#,
    r#""\U0041""#,
    "\"\u{1}\"",
    "\"\t\"",
    "\"\n\"",
    "\"\u{7f}\u{80}\u{2028}\u{2029}\"",
    "\"\u{feff}\"",
    "\"é\"",
    "\"\u{212a}ey\"",
    "\"\u{17f}\"",
    "\"a\\n\"",
    "\"-a\"",
    "\"a.b_c-9\"",
    "\"a b\"",
    "'a'",
    "\"a",
    "a\"",
    "\"edge\"",
    "\"EdDSA\"",
    "\"Ed25519\"",
    "\"none\"",
    "\"production\"",
    "\"AAAAAAAAAAAAAAAAAAAAAA\"",
];

const VALUES: [&str; 14] = [
    "null",
    "true",
    "false",
    "nul",
    "True",
    "[]",
    "{}",
    "[[]]",
    r#"{"a":1,"a":1}"#,
    r#"{"a":{"b":1,"\u0062":2}}"#,
    r#"{"":0,"":0}"#,
    r#"[1,]"#,
    r#"{"a":1,}"#,
    r#"[{"x":1},{"x":1}]"#,
];

const NAMES: [&str; 24] = [
    "__proto__",
    "constructor",
    "prototype",
    "toString",
    "hasOwnProperty",
    "valueOf",
    "length",
    "",
    "nbf",
    "iat",
    "exp",
    "iss",
    "aud",
    "cv",
    "xv",
    "v",
    "p",
    "d",
    "alg",
    "kid",
    "crit",
    "\\u006ebf",
    "\\ud800",
    "then",
];

const SPACES: [&str; 14] = [
    " ", "\t", "\n", "\r", "\r\n  ", "\u{b}", "\u{c}", "\u{a0}", "\u{2028}", "\u{feff}", "\u{0}", "/**/",
    "//\n", ",",
];

const NOT_UTF8: [&[u8]; 9] = [
    b"\xff",
    b"\xc0\x80",
    b"\xc1\xbf",
    b"\xe0\x80\x80",
    b"\xed\xa0\x80",
    b"\xed\xa0\xbd\xed\xb8\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    b"\x80",
];

/// Spoils a JSON text; says how.
pub(super) fn json(dice: &mut Dice, text: &mut Vec<u8>) -> &'static str {
    match dice.below(20) {
        0..3 => replace(dice, text, Kind::Number, &NUMBERS, "number"),
        3..5 => replace(dice, text, Kind::String, &STRINGS, "string"),
        5 => replace(dice, text, Kind::Value, &VALUES, "value"),
        6 => replace(dice, text, Kind::Value, &NUMBERS, "number for a value"),
        7 => replace(dice, text, Kind::Value, &STRINGS, "string for a value"),
        8 => replace(dice, text, Kind::Name, &STRINGS, "name"),
        9 => repeat_member(dice, text),
        10..13 => foreign_member(dice, text),
        13 | 14 => respell(dice, text),
        15 | 16 => nest(dice, text),
        17 => space(dice, text),
        18 => not_utf8(dice, text),
        _ => bytes(dice, text),
    }
}

/// Spoils a header; says how.
pub(super) fn header(dice: &mut Dice, text: &mut Vec<u8>, typ: &str) -> &'static str {
    let typ = format!("\"{typ}\"");
    match dice.below(4) {
        0 => replace(dice, text, Kind::Value, &[typ.as_str()], "another kind"),
        1 => replace(
            dice,
            text,
            Kind::Value,
            &["\"EdDSA\"", "\"Ed25519\"", "\"none\"", "\"HS256\"", "\"ES256\""],
            "algorithm",
        ),
        _ => json(dice, text),
    }
}

/// Spoils a token that is signed; says how.
pub(super) fn token(dice: &mut Dice, token: &mut String, other: &str) -> &'static str {
    const STRANGE: [char; 14] =
        ['+', '/', '=', '.', ' ', '\n', '\t', '\0', '%', 'é', 'Ω', '\u{2028}', '😀', '~'];
    const USUAL: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut chars: Vec<char> = token.chars().collect();
    let place = dice.below(chars.len());
    let usual = char::from(*dice.pick(USUAL));
    let how = match dice.below(11) {
        0 | 1 => {
            chars[place] = usual;
            "one character"
        }
        2 => {
            chars[place] = *dice.pick(&STRANGE);
            "a foreign character"
        }
        3 => {
            let strange = *dice.pick(&STRANGE);
            chars.insert(place, if dice.one_in(2) { usual } else { strange });
            "an inserted character"
        }
        4 => {
            chars.remove(place);
            "a missing character"
        }
        5 => {
            chars.truncate(place);
            "cut"
        }
        6 => {
            // The last character of a part may have unused bits.
            let ends: Vec<usize> =
                (0..chars.len()).filter(|at| chars.get(at + 1).is_none_or(|next| *next == '.')).collect();
            chars[*dice.pick(&ends)] = usual;
            "the end of a part"
        }
        7 => {
            chars.extend(dice.pick(&["=", "==", ".", "..", "\n", " ", "A", "AAAA"]).chars());
            "something at the end"
        }
        8 => {
            let mut parts: Vec<&str> = token.split('.').collect();
            parts.swap(dice.below(3), dice.below(3));
            chars = parts.join(".").chars().collect();
            "parts in another order"
        }
        9 => {
            let mut parts: Vec<&str> = token.split('.').collect();
            let which = dice.below(3);
            parts[which] = other.split('.').nth(which).unwrap_or_default();
            chars = parts.join(".").chars().collect();
            "a part of another token"
        }
        _ => {
            let mut parts: Vec<&str> = token.split('.').collect();
            let which = dice.below(3);
            if dice.one_in(2) {
                parts[which] = "";
            } else {
                parts.insert(which, "");
            }
            chars = parts.join(".").chars().collect();
            "an empty part"
        }
    };
    *token = chars.into_iter().collect();
    how
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Name,
    String,
    Number,
    Word,
    Mark,
    /// Of the others, those that are values.
    Value,
}

/// Where the tokens of a JSON text are; lenient, because the text may be spoiled already.
fn spans(text: &[u8]) -> Vec<(usize, usize, Kind)> {
    let mut spans = Vec::new();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let rest = &text[at..];
        let run = |allowed: &[u8]| rest.iter().take_while(|byte| allowed.contains(byte)).count().max(1);
        let (length, kind) = match byte {
            b'"' => {
                let mut end = 1;
                while end < rest.len() && rest[end] != b'"' {
                    end += if rest[end] == b'\\' { 2 } else { 1 };
                }
                let end = (end + 1).min(rest.len());
                (end, if rest.get(end) == Some(&b':') { Kind::Name } else { Kind::String })
            }
            b'-' | b'0'..=b'9' => (run(b"-+.eE0123456789"), Kind::Number),
            b'a'..=b'z' => (run(b"abcdefghijklmnopqrstuvwxyz"), Kind::Word),
            _ => (1, Kind::Mark),
        };
        spans.push((at, at + length, kind));
        at += length;
    }
    spans
}

fn pick_span(dice: &mut Dice, text: &[u8], kind: Kind) -> Option<(usize, usize)> {
    let fits = |found: Kind| match kind {
        Kind::Value => matches!(found, Kind::String | Kind::Number | Kind::Word),
        _ => found == kind,
    };
    let spans: Vec<_> = spans(text).into_iter().filter(|(_, _, found)| fits(*found)).collect();
    if spans.is_empty() {
        return None;
    }
    let (start, end, _) = *dice.pick(&spans);
    Some((start, end))
}

fn replace(dice: &mut Dice, text: &mut Vec<u8>, kind: Kind, by: &[&str], how: &'static str) -> &'static str {
    let Some((start, end)) = pick_span(dice, text, kind) else { return "nothing" };
    let by = (*dice.pick(by)).bytes();
    text.splice(start..end, by);
    how
}

fn any_value(dice: &mut Dice) -> &'static str {
    match dice.below(3) {
        0 => dice.pick::<&str>(&NUMBERS),
        1 => dice.pick::<&str>(&STRINGS),
        _ => dice.pick::<&str>(&VALUES),
    }
}

fn repeat_member(dice: &mut Dice, text: &mut Vec<u8>) -> &'static str {
    let Some((start, end)) = pick_span(dice, text, Kind::Name) else { return "nothing" };
    let mut member = text[start..end].to_vec();
    let how = if dice.one_in(2) { "a member twice" } else { "a member twice, spelled differently" };
    if how.ends_with("differently") {
        member = escaped(dice, &member);
    }
    member.extend(format!(":{},", any_value(dice)).bytes());
    text.splice(start..start, member);
    how
}

fn foreign_member(dice: &mut Dice, text: &mut Vec<u8>) -> &'static str {
    let objects: Vec<usize> =
        spans(text).into_iter().filter(|(at, _, _)| text[*at] == b'{').map(|(_, end, _)| end).collect();
    if objects.is_empty() {
        return "nothing";
    }
    let at = *dice.pick(&objects);
    let comma = if text.get(at) == Some(&b'}') { "" } else { "," };
    let member = format!("\"{}\":{}{comma}", dice.pick(&NAMES), any_value(dice));
    text.splice(at..at, member.bytes());
    "a foreign member"
}

/// The same text in escapes: another spelling, the same meaning.
fn respell(dice: &mut Dice, text: &mut Vec<u8>) -> &'static str {
    let kind = if dice.one_in(2) { Kind::Name } else { Kind::String };
    let Some((start, end)) = pick_span(dice, text, kind) else { return "nothing" };
    let by = escaped(dice, &text[start..end]);
    text.splice(start..end, by);
    "escapes"
}

fn escaped(dice: &mut Dice, string: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in string {
        if byte.is_ascii_alphanumeric() && dice.one_in(3) {
            out.extend(format!("\\u{byte:04x}").bytes());
        } else {
            out.push(*byte);
        }
    }
    out
}

fn nest(dice: &mut Dice, text: &mut Vec<u8>) -> &'static str {
    let Some((start, end)) = pick_span(dice, text, Kind::Value) else { return "nothing" };
    let depth = if dice.one_in(6) { 1000 } else { 59 + dice.below(6) };
    let objects = dice.one_in(2);
    let (open, close) = if objects { (r#"{"a":"#, "}") } else { ("[", "]") };
    text.splice(end..end, close.repeat(depth).into_bytes());
    text.splice(start..start, open.repeat(depth).into_bytes());
    "nesting"
}

fn space(dice: &mut Dice, text: &mut Vec<u8>) -> &'static str {
    let edges: Vec<usize> =
        spans(text).into_iter().flat_map(|(start, end, _)| [start, end]).chain([0]).collect();
    let at = *dice.pick(&edges);
    let space = dice.pick(&SPACES).bytes();
    text.splice(at..at, space);
    "space"
}

fn not_utf8(dice: &mut Dice, text: &mut Vec<u8>) -> &'static str {
    let at = match (dice.one_in(2), pick_span(dice, text, Kind::String)) {
        (true, Some((start, _))) => start + 1,
        _ => dice.below(text.len() + 1),
    };
    let noise = dice.pick(&NOT_UTF8).iter().copied();
    text.splice(at..at, noise);
    "not UTF-8"
}

fn bytes(dice: &mut Dice, text: &mut Vec<u8>) -> &'static str {
    if text.is_empty() {
        return "nothing";
    }
    let at = dice.below(text.len());
    match dice.below(5) {
        0 => text[at] ^= 1 << dice.below(8),
        1 => text.insert(at, dice.byte()),
        2 => drop(text.remove(at)),
        3 => text.truncate(at),
        _ => {
            let end = (at + dice.below(20)).min(text.len());
            let copy = text[at..end].to_vec();
            text.splice(at..at, copy);
        }
    }
    "bytes"
}
