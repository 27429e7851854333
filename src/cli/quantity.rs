//! Sizes, times and counts, as people write and read them.

use std::time::Duration;

/// The longest time that an option takes.
const LONGEST: Duration = Duration::from_hours(24);

const BINARY: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];

/// Reads a size in bytes: `262144000`, `250MiB`, `1.5GiB`, `500MB`.
///
/// `KiB` and `K` are 1,024 bytes, `KB` is 1,000, and so on; upper and lower case are the same.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let (base, power): (u128, u32) = match unit.as_str() {
        "" | "b" => (1, 0),
        "k" | "kib" => (1024, 1),
        "m" | "mib" => (1024, 2),
        "g" | "gib" => (1024, 3),
        "t" | "tib" => (1024, 4),
        "kb" => (1000, 1),
        "mb" => (1000, 2),
        "gb" => (1000, 3),
        "tb" => (1000, 4),
        _ => return Err("expected a size such as 250MiB, 1GiB or 262144000".to_owned()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit()) && s.len() <= 18;
    if whole.is_empty() || !digits(whole) || !digits(fraction) || number.ends_with('.') {
        return Err("expected a size such as 250MiB, 1GiB or 262144000".to_owned());
    }
    if power == 0 && !fraction.is_empty() {
        return Err("there is no part of a byte".to_owned());
    }
    let scale = base.pow(power);
    let parsed = |s: &str| s.parse::<u128>().unwrap_or(0);
    let tenths = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let bytes = parsed(whole) * scale + parsed(fraction) * scale / tenths;
    u64::try_from(bytes).map_err(|_| "the size is too large".to_owned())
}

/// As [`parse_duration`], and 0 for no wait at all.
pub(super) fn parse_wait(text: &str) -> Result<Duration, String> {
    match text {
        "0" | "0s" | "0ms" | "0m" => Ok(Duration::ZERO),
        text => parse_duration(text),
    }
}

/// Reads a time: `10s`, `500ms`, `1m`, `1m30s`, or plain seconds: `10`, `0.5`. More than nothing, at most 24 hours.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected a time such as 10s, 500ms or 1m".to_owned();
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let duration = if plain {
        let seconds: f64 = text.parse().map_err(|_| expected())?;
        Duration::try_from_secs_f64(seconds).map_err(|_| "the time is too long".to_owned())?
    } else {
        let signed: jiff::SignedDuration = text.parse().map_err(|_| expected())?;
        Duration::try_from(signed).map_err(|_| "the time is negative".to_owned())?
    };
    if duration.is_zero() {
        Err("the time is zero".to_owned())
    } else if duration > LONGEST {
        Err("the time is too long: at most 24h".to_owned())
    } else {
        Ok(duration)
    }
}

/// Reads an age: a number of minutes, hours, days or weeks, such as `12h` or `7d`.
pub(super) fn parse_age(text: &str) -> Result<jiff::SignedDuration, String> {
    let expected = || "expected an age such as 12h, 7d or 4w".to_owned();
    let unit = text.chars().last().ok_or_else(expected)?;
    let minutes: i64 = match unit {
        'm' => 1,
        'h' => 60,
        'd' => 24 * 60,
        'w' => 7 * 24 * 60,
        _ => return Err(expected()),
    };
    let number = &text[..text.len() - 1];
    let plain =
        !number.is_empty() && number.len() <= 6 && number.bytes().all(|b| b.is_ascii_digit());
    let number: i64 = number.parse().ok().filter(|_| plain).ok_or_else(expected)?;
    Ok(jiff::SignedDuration::from_mins(number * minutes))
}

/// A size for a person, three digits of it: `385 B`, `5.53 MiB`.
pub(super) fn size(bytes: u64) -> String {
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = to_f64(bytes);
    let mut unit = "B";
    for next in BINARY {
        // What would be shown as 1024 of a unit is shown as one of the next.
        if value < 1023.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    format!("{} {unit}", three_digits(value))
}

/// A size for a person with the exact number beside it: `5.53 MiB (5,797,206 bytes)`.
pub(super) fn exact_size(bytes: u64) -> String {
    if bytes < 1024 {
        count(bytes, "byte", "bytes")
    } else {
        format!("{} ({} bytes)", size(bytes), grouped(bytes))
    }
}

/// A speed for a person; nothing where there is no speed to speak of.
pub(super) fn speed(bytes: u64, time: Duration) -> Option<String> {
    let seconds = time.as_secs_f64();
    let per_second = to_f64(bytes) / seconds;
    (seconds > 0.0 && per_second.is_finite()).then(|| format!("{}/s", size(to_u64(per_second))))
}

/// A time for a person: `3 ms`, `1.24 s`, `2 min 5 s`, `1 h 3 min`.
pub(super) fn time(time: Duration) -> String {
    let millis = time.as_millis();
    if millis < 1000 {
        return format!("{millis} ms");
    }
    let seconds = time.as_secs_f64();
    if seconds < 59.95 {
        return format!("{} s", three_digits(seconds));
    }
    let whole = to_u64(seconds.round());
    let (hours, minutes, seconds) = (whole / 3600, whole / 60 % 60, whole % 60);
    if hours > 0 {
        format!("{hours} h {minutes} min")
    } else {
        format!("{minutes} min {seconds} s")
    }
}

/// A time for a person to wait, without parts of a second: `2 s`, `2 min 5 s`.
pub(super) fn whole_time(length: Duration) -> String {
    let seconds = length.as_secs();
    if seconds < 60 {
        format!("{seconds} s")
    } else {
        time(Duration::from_secs(seconds))
    }
}

/// A number and what it counts: `1 file`, `5,223 files`.
pub(super) fn count(number: u64, one: &str, many: &str) -> String {
    let what = if number == 1 { one } else { many };
    format!("{} {what}", grouped(number))
}

/// A number with commas between groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.char_indices() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

fn three_digits(value: f64) -> String {
    if value >= 99.95 {
        format!("{value:.0}")
    } else if value >= 9.995 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Close enough for showing.
#[expect(clippy::cast_precision_loss, reason = "three digits of it are shown")]
pub(super) fn to_f64(number: u64) -> f64 {
    number as f64
}

/// Close enough for showing; saturates.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the cast saturates, and the value is shown with three digits"
)]
pub(super) fn to_u64(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_one_unit() {
        let hours = |text| parse_age(text).map(|age| age.as_hours());
        assert_eq!(hours("12h"), Ok(12));
        assert_eq!(hours("7d"), Ok(168));
        assert_eq!(hours("2w"), Ok(336));
        assert_eq!(hours("90m"), Ok(1));
        for text in ["", "d", "7", "-7d", "7x", "1.5d", "7d1h", "9999999d", "7é"] {
            assert!(parse_age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("0", 0),
            ("262144000", 262_144_000),
            ("250MiB", 250 << 20),
            ("250 mib", 250 << 20),
            ("1GiB", 1 << 30),
            ("1.5GiB", 3 << 29),
            ("2K", 2048),
            ("2kb", 2000),
            ("1TB", 1_000_000_000_000),
            ("12B", 12),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "MiB",
            "-1",
            "1.",
            ".5K",
            "1..2K",
            "1.2.3M",
            "1.5",
            "1X",
            "1e3",
            "0x10",
            "١",
            "99999999999TiB",
            "9999999999999999999999",
            "1 000",
            "inf",
        ] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_are_read() {
        for (text, millis) in [
            ("10s", 10_000),
            ("500ms", 500),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("10", 10_000),
            ("0.5", 500),
        ] {
            assert_eq!(
                parse_duration(text),
                Ok(Duration::from_millis(millis)),
                "{text}"
            );
        }
        for text in [
            "",
            "0",
            "0s",
            "-1s",
            "1s ago",
            "ten",
            "25h",
            "1e9",
            "99999999999999999999999",
            "s",
            "nan",
            "inf",
            ".",
            "1.2.3",
        ] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn quantities_are_shown_with_three_digits() {
        for (bytes, text) in [
            (0, "0 B"),
            (385, "385 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (5_797_206, "5.53 MiB"),
            (68_400_000, "65.2 MiB"),
            (225_000_000, "215 MiB"),
            (1_048_575, "1.00 MiB"),
            (u64::MAX, "16384 PiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        for (millis, text) in [
            (0, "0 ms"),
            (12, "12 ms"),
            (1_240, "1.24 s"),
            (14_200, "14.2 s"),
            (59_960, "1 min 0 s"),
            (125_000, "2 min 5 s"),
            (3_780_000, "1 h 3 min"),
        ] {
            assert_eq!(time(Duration::from_millis(millis)), text);
        }
        assert_eq!(exact_size(5_797_206), "5.53 MiB (5,797,206 bytes)");
        assert_eq!(exact_size(1), "1 byte");
        assert_eq!(count(5_223, "file", "files"), "5,223 files");
        assert_eq!(
            speed(1 << 20, Duration::from_millis(500)).as_deref(),
            Some("2.00 MiB/s")
        );
        assert_eq!(speed(0, Duration::ZERO), None);
    }
}
