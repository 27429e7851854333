//! The proxies that the environment names, checked before anything is sent: a typo must not lead past a proxy that is
//! policy.

use url::Url;

use crate::error::{Error, ErrorKind, Result};

/// The variables that name a proxy. The lower-case one of a pair counts first, as in curl.
const PROXIES: [[&str; 2]; 3] = [
    ["https_proxy", "HTTPS_PROXY"],
    ["http_proxy", "HTTP_PROXY"],
    ["all_proxy", "ALL_PROXY"],
];

/// Whether proxies are to be used at all: not where `NO_PROXY` is `*` or holds it.
///
/// # Errors
/// A variable names no proxy that larder can use. Its value is not shown: it may hold a password.
pub(super) fn check(variable: impl Fn(&str) -> Option<String>) -> Result<bool> {
    let first = |names: &[&'static str; 2]| names.iter().find_map(|n| Some((*n, variable(n)?)));
    for names in &PROXIES {
        if let Some((name, value)) = first(names)
            && !usable(&value)
        {
            return Err(
                Error::new(ErrorKind::Usage, "names no HTTP proxy that could be used")
                    .about(name)
                    .hint("expected something like http://proxy.example:3128"),
            );
        }
    }
    let except = first(&["no_proxy", "NO_PROXY"]).map(|(_, value)| value);
    Ok(!except.is_some_and(|list| list.split(',').any(|part| part.trim() == "*")))
}

fn usable(value: &str) -> bool {
    // Without a scheme it is an HTTP proxy, as everywhere.
    let whole = if value.contains("://") {
        value.to_owned()
    } else {
        format!("http://{value}")
    };
    Url::parse(&whole).is_ok_and(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && matches!(url.path(), "" | "/")
            && url.query().is_none()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(name: &'static str, value: &'static str) -> Result<bool> {
        check(|asked| (asked == name).then(|| value.to_owned()))
    }

    #[test]
    fn a_proxy_is_a_host_with_or_without_a_scheme() {
        for value in [
            "http://proxy:3128",
            "https://user:p%40ss@proxy.example:443/",
            "proxy:3128",
            "proxy",
            "[::1]:3128",
        ] {
            assert!(with("HTTPS_PROXY", value).unwrap(), "{value}");
        }
        for value in [
            "http//127.0.0.1:1",
            "not a url",
            "http:/proxy corp:3128",
            "socks5://127.0.0.1:1",
            "http://user:s3cret@/",
        ] {
            let error = with("http_proxy", value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{value}");
            assert!(error.to_string().contains("http_proxy"));
            assert!(!format!("{error:?}").contains("s3cret"));
        }
    }

    #[test]
    fn a_star_means_no_proxy_at_all() {
        assert!(!with("NO_PROXY", "*").unwrap());
        assert!(!with("no_proxy", "a.example, *").unwrap());
        assert!(with("NO_PROXY", "*.example").unwrap());
        assert!(check(|_| None).unwrap());
    }
}
