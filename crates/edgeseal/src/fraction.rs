//! Shares, rates and changes on the command line: `5%` or `0.05`.

/// Reads `-20%` as −0.2, and numbers from −1 to 1 as they are. `5` is refused: it could mean either.
pub(crate) fn parse(text: &str) -> Result<f64, String> {
    let (digits, percent) = match text.trim().strip_suffix('%') {
        Some(digits) => (digits.trim_end(), true),
        None => (text.trim(), false),
    };
    let number: f64 = digits.parse().map_err(|_| "must be a number, such as 5% or 0.05".to_owned())?;
    if !number.is_finite() {
        return Err("must be finite".to_owned());
    }
    if percent {
        return Ok(number / 100.0);
    }
    if number.abs() > 1.0 {
        return Err(format!("is more than all of it: write {digits}% for percent"));
    }
    Ok(number)
}

/// The same, strictly between 0 and 1.
pub(crate) fn part(text: &str) -> Result<f64, String> {
    let number = parse(text)?;
    if number > 0.0 && number < 1.0 {
        Ok(number)
    } else {
        Err("must be more than 0% and less than 100%".to_owned())
    }
}

/// `0.05` as `5%`, with as many decimals as it takes to tell it from its neighbours.
pub(crate) fn percent(number: f64) -> String {
    let text = format!("{:.4}", 100.0 * number);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// The same with its sign and one decimal more than people need.
pub(crate) fn change(number: f64) -> String {
    format!("{:+.2}%", 100.0 * number)
}

/// `1234567` as `1 234 567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_and_numbers() {
        for (text, number) in [("5%", 0.05), ("0.05", 0.05), ("-20 %", -0.2), ("1", 1.0), ("150%", 1.5)] {
            assert!((parse(text).unwrap() - number).abs() < 1e-15, "{text}");
        }
        for text in ["5", "", "%", "NaN", "inf%", "five"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(part("0%").is_err() && part("100%").is_err() && part("50%").is_ok());
    }

    #[test]
    fn written_for_people() {
        assert_eq!(
            (percent(0.05), percent(0.001), percent(0.0), change(-0.2)),
            ("5%".into(), "0.1%".into(), "0%".into(), "-20.00%".into())
        );
        assert_eq!([7, 1_234, 1_234_567].map(grouped), ["7", "1 234", "1 234 567"]);
    }
}
