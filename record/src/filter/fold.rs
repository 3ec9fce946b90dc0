//! Substring search with A–Z folded: `memchr2` for the rarest byte of the needle in both its cases, then a look at the
//! rest. Messages are short, so what counts is how little is done for each.

use memchr::{memchr, memchr2};

/// A text to look for, folded and taken apart once.
#[derive(Clone, Debug)]
pub struct FoldedNeedle {
    folded: Box<[u8]>,
    /// Where in it the byte stands that logs have least.
    rare_at: usize,
    rare: u8,
    /// The other case of `rare`; the same byte where it has none.
    other: u8,
}

impl FoldedNeedle {
    pub fn new(text: &[u8]) -> FoldedNeedle {
        let folded: Box<[u8]> = text.to_ascii_lowercase().into();
        let rare_at = (0..folded.len()).max_by_key(|&at| rarity(folded[at])).unwrap_or(0);
        let rare = folded.get(rare_at).copied().unwrap_or(0);
        FoldedNeedle { rare_at, rare, other: rare.to_ascii_uppercase(), folded }
    }

    pub fn is_empty(&self) -> bool {
        self.folded.is_empty()
    }

    /// Whether the text occurs in `haystack`.
    pub fn is_in(&self, haystack: &[u8]) -> bool {
        let length = self.folded.len();
        if length == 0 {
            return true;
        }
        if haystack.len() < length {
            return false;
        }
        // Only where the whole needle would still fit around it.
        let window = &haystack[self.rare_at..=haystack.len() - length + self.rare_at];
        let mut at = 0;
        loop {
            let rest = &window[at..];
            let found = match self.rare == self.other {
                true => memchr(self.rare, rest),
                false => memchr2(self.rare, self.other, rest),
            };
            let Some(next) = found else { return false };
            at += next;
            if haystack[at..at + length].eq_ignore_ascii_case(&self.folded) {
                return true;
            }
            at += 1;
        }
    }
}

/// Whether the needle occurs in `haystack` once A–Z are folded in both, and nothing else.
pub fn fold_contains(haystack: &[u8], needle: &FoldedNeedle) -> bool {
    needle.is_in(haystack)
}

/// How rare a folded byte is in log messages: higher is rarer.
fn rarity(byte: u8) -> usize {
    const COMMONEST_FIRST: &[u8] = b" eotairsn0ldc1u2m3p45g6789f-.h/=:y_bwvk\",'x[](){}jqz";
    COMMONEST_FIRST.iter().position(|&b| b == byte).unwrap_or(COMMONEST_FIRST.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plain(haystack: &str, needle: &str) -> bool {
        haystack.to_ascii_lowercase().contains(&needle.to_ascii_lowercase())
    }

    #[test]
    fn only_ascii_is_folded() {
        for (haystack, needle, found) in [
            ("Connection TIMEOUT after 5s", "timeout", true),
            ("timeou", "timeout", false),
            ("xtimeout", "TimeOut", true),
            ("anything", "", true),
            ("", "", true),
            ("", "a", false),
            ("GRÖSSE", "größe", false),
            ("größe", "GRößE", true),
            ("\u{212a}elvin", "kelvin", false),
            ("[x]", "{x}", false),
            ("a@b", "a`b", false),
            ("aab", "ab", true),
        ] {
            assert_eq!(fold_contains(haystack.as_bytes(), &FoldedNeedle::new(needle.as_bytes())), found, "{needle}");
        }
    }

    proptest! {
        #[test]
        fn as_the_plain_way(haystack in "[abAB@` zé]{0,40}", needle in "[abAB@` zé]{0,4}") {
            prop_assert_eq!(FoldedNeedle::new(needle.as_bytes()).is_in(haystack.as_bytes()), plain(&haystack, &needle));
        }
    }
}
