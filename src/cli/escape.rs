//! Text from archives and from AWS, made harmless before it reaches a terminal.
//!
//! A file name may hold an escape sequence that moves the cursor, or a bidirectional control that shows a name
//! back to front. Such characters are shown as what they are, `\u{1b}`; everything else stays.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether `c` acts on a terminal or on the order of text rather than being shown.
fn is_unsafe(c: char) -> bool {
    c.is_control() // C0, DEL and C1
        || matches!(
            c,
            '\u{61c}'                   // Arabic letter mark
            | '\u{200e}' | '\u{200f}'   // left-to-right and right-to-left mark
            | '\u{2028}'..='\u{202e}'   // line and paragraph separator; embeddings and overrides
            | '\u{2066}'..='\u{2069}' // isolates
        )
}

/// `text` on one line, with nothing in it that acts on a terminal.
pub(super) fn line(text: &str) -> Cow<'_, str> {
    replace(text, |out, c| match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c => {
            // Writing to a String does not fail.
            let _ = write!(out, "\\u{{{:x}}}", u32::from(c));
        }
    })
}

/// `text` as it is apart from what acts on a terminal; its line breaks and tabs stay.
pub(super) fn lines(text: &str) -> Cow<'_, str> {
    replace(text, |out, c| match c {
        '\n' | '\t' => out.push(c),
        c => out.push_str(&line(c.encode_utf8(&mut [0; 4]))),
    })
}

/// JSON `text` with the same meaning and nothing in it that acts on a terminal.
///
/// A serializer writes `U+007F` and above as they are, and only within strings; there `\uXXXX` says the same.
pub(super) fn json(text: &str) -> Cow<'_, str> {
    replace(text, |out, c| {
        if c.is_ascii() && c != '\x7f' {
            out.push(c); // white space between tokens: a serializer escapes the others itself
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    })
}

fn replace(text: &str, mut put: impl FnMut(&mut String, char)) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            put(&mut out, c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_is_left_alone() {
        for text in ["", "index.js", "größe/naïve/日本語.txt", "a b\\c", "👩‍💻"] {
            assert!(
                matches!(line(text), Cow::Borrowed(t) if t == text),
                "{text}"
            );
        }
    }

    #[test]
    fn what_acts_on_a_terminal_is_shown_instead() {
        for (text, shown) in [
            ("\x1b[31mred\x1b[0m", r"\u{1b}[31mred\u{1b}[0m"),
            ("\x1b]0;title\x07", r"\u{1b}]0;title\u{7}"),
            ("a\nerror: b\r\tc", r"a\nerror: b\r\tc"),
            ("\u{9b}2J\x7f\0", r"\u{9b}2J\u{7f}\u{0}"),
            ("\u{202e}gpj.exe\u{202c}", r"\u{202e}gpj.exe\u{202c}"),
            ("\u{202a}\u{202b}\u{202d}", r"\u{202a}\u{202b}\u{202d}"),
            (
                "\u{2066}\u{2067}\u{2068}\u{2069}",
                r"\u{2066}\u{2067}\u{2068}\u{2069}",
            ),
            ("\u{200e}\u{200f}\u{61c}", r"\u{200e}\u{200f}\u{61c}"),
            ("\u{2028}\u{2029}", r"\u{2028}\u{2029}"),
        ] {
            assert_eq!(line(text), shown);
        }
        assert_eq!(lines("a\n\tb\x1b\r"), "a\n\tb\\u{1b}\\r");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({"a\u{202e}": "\u{9b}\x7f\x1b\n", "b": ["\u{2069}"]});
        for text in [value.to_string(), format!("{value:#}\n")] {
            let safe = json(&text);
            assert!(!safe.chars().any(|c| is_unsafe(c) && c != '\n'), "{safe}");
            let again: serde_json::Value = serde_json::from_str(&safe).unwrap();
            assert_eq!(again, value);
        }
    }
}
