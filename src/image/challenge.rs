//! What a registry asks for when it answers 401: the challenges of `WWW-Authenticate` (RFC 7235 section 2.1, RFC 6750).

/// One challenge: a scheme in lower case, and its parameters with their names in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Challenge {
    pub(super) scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter's value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads all challenges of one header. What follows something that is no challenge is left out.
pub(super) fn parse(header: &str) -> Vec<Challenge> {
    let mut out: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (word, after) = token(rest);
        if word.is_empty() {
            return out;
        }
        // `name = value` goes with the challenge before it; anything else is the scheme of a new one.
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('=');
        match (value, out.last_mut()) {
            (Some(value), Some(challenge)) => {
                let Some((value, after)) = parameter(value.trim_start_matches([' ', '\t'])) else {
                    return out;
                };
                challenge
                    .parameters
                    .push((word.to_ascii_lowercase(), value));
                rest = after;
            }
            (Some(_), None) => return out,
            (None, _) => {
                out.push(Challenge {
                    scheme: word.to_ascii_lowercase(),
                    parameters: Vec::new(),
                });
                // A token68, as in `Negotiate abc==`, is no parameter, and of no use here.
                rest = without_token68(after);
            }
        }
    }
}

/// The token that `text` begins with (RFC 9110 section 5.6.2), and the rest.
fn token(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)))
        .unwrap_or(text.len());
    text.split_at(end)
}

/// A parameter's value, quoted or not, and the rest. None when its quotes do not end.
fn parameter(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = token(text);
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

fn without_token68(after: &str) -> &str {
    let text = after.trim_start_matches(' ');
    let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
    let word = &text[..end];
    let bare = word.trim_end_matches('=');
    let is_token68 =
        !bare.is_empty() && !bare.contains(['=', '"']) && text[end..].trim_start().starts_with(',')
            || (end == text.len() && !bare.is_empty() && !bare.contains(['=', '"']));
    if is_token68 { &text[end..] } else { after }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(header: &str) -> Vec<(String, Vec<(String, String)>)> {
        parse(header)
            .into_iter()
            .map(|c| (c.scheme, c.parameters))
            .collect()
    }

    fn want(scheme: &str, parameters: &[(&str, &str)]) -> (String, Vec<(String, String)>) {
        let parameters = parameters
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        (scheme.to_owned(), parameters)
    }

    #[test]
    fn challenges_are_read_as_registries_write_them() {
        let bearer = want(
            "bearer",
            &[
                ("realm", "https://auth.example/token?a=b,c"),
                ("service", "registry"),
                ("scope", "repository:a/b:pull,push"),
            ],
        );
        let basic = want("basic", &[("realm", "a \"b\"")]);
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.example/token?a=b,c",service="registry",scope="repository:a/b:pull,push""#,
                vec![bearer.clone()],
            ),
            (
                r#"BEARER Realm = "https://auth.example/token?a=b,c" , Service=registry,  scope="repository:a/b:pull,push""#,
                vec![bearer.clone()],
            ),
            (r#"Basic realm="a \"b\"""#, vec![basic.clone()]),
            (
                r#"Negotiate abc==, Basic realm="a \"b\"", Bearer realm="https://auth.example/token?a=b,c",service="registry",scope="repository:a/b:pull,push""#,
                vec![want("negotiate", &[]), basic.clone(), bearer],
            ),
            ("Negotiate", vec![want("negotiate", &[])]),
            (
                "Negotiate, Basic",
                vec![want("negotiate", &[]), want("basic", &[])],
            ),
            ("", vec![]),
            (",, ,", vec![]),
            ("=x", vec![]),
            (r#"Basic realm="never ends"#, vec![want("basic", &[])]),
        ] {
            assert_eq!(read(header), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read_to_an_end(header in ".{0,200}") {
            let _ = parse(&header);
        }

        #[test]
        fn what_was_quoted_comes_back(value in "[ -~]{0,40}") {
            let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
            let header = format!("Bearer realm=\"{quoted}\", service=\"s\"");
            prop_assert_eq!(read(&header), vec![want("bearer", &[("realm", &value), ("service", "s")])]);
        }
    }
}
