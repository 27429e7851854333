//! Which of several machines takes which account and region, so that one budget of calls has one owner.

use std::str::FromStr;

use crate::digest::Sha256Digest;

/// One of `of` shares of the accounts and regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: u32,
    of: u32,
}

impl Shard {
    /// The share `number`, from 1 to `of`; None of any other.
    pub fn new(number: u32, of: u32) -> Option<Self> {
        (1..=of).contains(&number).then_some(Self { number, of })
    }

    /// Its number, from 1.
    pub fn number(self) -> u32 {
        self.number
    }

    /// How many there are.
    pub fn of(self) -> u32 {
        self.of
    }

    /// Whether the account and region are this share's.
    pub fn owns(self, account: &str, region: &str) -> bool {
        place(account, region) % u64::from(self.of) == u64::from(self.number - 1)
    }
}

/// The first eight bytes of the SHA-256 of `ACCOUNT/REGION`, as one big-endian number. The share of an account and region is
/// its remainder by the number of shares, plus 1 (docs/store.md).
fn place(account: &str, region: &str) -> u64 {
    let digest = Sha256Digest::of(format!("{account}/{region}").as_bytes()).hex();
    u64::from_str_radix(&digest[..16], 16).unwrap_or_default()
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

/// `K/N`.
impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|_| plain)
        };
        text.split_once('/')
            .and_then(|(k, n)| Self::new(number(k)?, number(n)?))
            .ok_or_else(|| format!("{text:?} is no share; expected K/N with K from 1 to N"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// These never change: machines of different versions share a store.
    #[test]
    fn the_share_of_an_account_and_region_is_for_ever() {
        assert_eq!(place("123456789012", "us-east-1"), 0xeb80_5c6c_3fdd_6b6d);
        let shares = |n| {
            let mut owners = (1..=n).filter_map(|k| Shard::new(k, n));
            owners
                .find(|shard| shard.owns("123456789012", "us-east-1"))
                .map(Shard::number)
        };
        assert_eq!(
            [1, 2, 3, 8, 100].map(shares),
            [Some(1), Some(2), Some(2), Some(6), Some(54)]
        );
    }

    #[test]
    fn each_account_and_region_has_one_owner() {
        let mut counts = [0_u32; 8];
        for account in 0..100 {
            for region in ["us-east-1", "eu-west-1", "ap-south-1", "sa-east-1"] {
                let account = format!("{account:012}");
                let owners: Vec<_> = (1..=8)
                    .filter_map(|k| Shard::new(k, 8))
                    .filter(|shard| shard.owns(&account, region))
                    .collect();
                assert_eq!(owners.len(), 1);
                counts[owners[0].number() as usize - 1] += 1;
            }
        }
        assert!(counts.iter().all(|n| (25..=80).contains(n)), "{counts:?}");
    }

    #[test]
    fn a_share_is_from_one_to_all() {
        assert_eq!("2/3".parse(), Ok(Shard { number: 2, of: 3 }));
        assert_eq!(Shard { number: 2, of: 3 }.to_string(), "2/3");
        for text in [
            "",
            "0/3",
            "4/3",
            "1/0",
            "/3",
            "1/",
            "1",
            "+1/2",
            "a/b",
            "1/2/3",
            "-1/2",
            "1/4294967296",
        ] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
