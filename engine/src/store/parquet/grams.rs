//! Page filters: for a thousand rows or so a bitmap of the grams of their messages, A–Z folded, so that a query for a
//! rare word or number reads only the pages that may hold it.
//!
//! One bit a gram: at about a byte a record a second one would fill the bitmap without making it any sharper.
//!
//! The filters of a file stand before its footer, whose metadata says where (`logboom.filters`: version, offset, bytes,
//! CRC32C, separated by blanks). Integers are little-endian.
//!
//! | at | bytes | content |
//! |---|---|---|
//! | 0 | 4 | number of filters, n: one for each [`UNIT_ROWS`] rows of a row group, row groups in order |
//! | 4 | n | binary logarithm of the bits of each |
//! | 4 + n | | the bitmaps, one after another |

use record::filter::Expr;

/// Rows that one filter is about.
pub const UNIT_ROWS: usize = 1024;

/// Bits of a bitmap while it is made, as a binary logarithm: 32 KiB, which stays in the nearest cache.
const WIDE: u8 = 18;
/// Bits of the smallest bitmap.
const NARROW: u8 = 9;
/// A bitmap is folded in half while it takes more than a byte a row and at most this share of its bits gets set…
const FILL_PERCENT_MAX: u32 = 60;
/// …and below a byte a row while this share does: a sparse bitmap is sharp enough.
const FILL_PERCENT_SPARSE: u32 = 20;

/// The filter of one unit under construction.
pub struct GramFilter {
    bits: Vec<u64>,
    rows: usize,
}

impl Default for GramFilter {
    fn default() -> Self {
        GramFilter { bits: vec![0; 1 << (WIDE - 6)], rows: 0 }
    }
}

impl GramFilter {
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn add(&mut self, message: &[u8]) {
        self.rows += 1;
        let bits = &mut self.bits;
        each_hash(message, &mut |hash| bits[(hash >> 6) as usize] |= 1 << (hash & 63));
    }

    /// Appends the bitmap to `bitmaps` and its size to `sizes`; the filter is empty again.
    pub fn finish(&mut self, sizes: &mut Vec<u8>, bitmaps: &mut Vec<u8>) {
        let mut width = WIDE;
        while width > NARROW {
            let half = 1 << (width - 7);
            let (low, high) = self.bits.split_at(half);
            let set: u32 = low.iter().zip(high).map(|(low, high)| (low | high).count_ones()).sum();
            let is_large = half * 8 >= self.rows;
            let percent = if is_large { FILL_PERCENT_MAX } else { FILL_PERCENT_SPARSE };
            if u64::from(set) * 100 > (64 * half as u64) * u64::from(percent) {
                break;
            }
            for at in 0..half {
                self.bits[at] |= self.bits[at + half];
            }
            width -= 1;
            self.bits.truncate(half);
        }
        sizes.push(width);
        self.bits.iter().for_each(|word| bitmaps.extend_from_slice(&word.to_le_bytes()));
        *self = GramFilter::default();
    }
}

/// Calls `each` with the hash of every gram of a text: its pieces of three bytes, but in place of those that are part of
/// a number, decimal or hexadecimal, the pieces of five. Any page of many numbers has all those of three: they would
/// fill its bitmap and tell nothing.
fn each_hash(text: &[u8], each: &mut impl FnMut(u32)) {
    // The last five bytes, and a bit for each that tells whether it is a hexadecimal digit, or a decimal one.
    let (mut bytes, mut hex, mut decimal) = (0u64, 0u8, 0u8);
    for (at, &byte) in text.iter().enumerate() {
        let folded = byte.to_ascii_lowercase();
        bytes = (bytes << 8 | u64::from(folded)) & 0xff_ffff_ffff;
        hex = hex << 1 | u8::from(folded.is_ascii_hexdigit());
        decimal = decimal << 1 | u8::from(folded.is_ascii_digit());
        if at >= 2 && !(hex & 0b111 == 0b111 && decimal & 0b111 != 0) {
            each(hash(bytes & 0xff_ffff));
        }
        if at >= 4 && hex & 0b1_1111 == 0b1_1111 && decimal & 0b1_1111 != 0 {
            each(hash(bytes));
        }
    }
}

fn hash(gram: u64) -> u32 {
    // The upper bits of a product depend on all of the gram's.
    (gram.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - WIDE)) as u32
}

fn hashes(text: &str) -> Vec<u32> {
    let mut hashes = Vec::new();
    each_hash(text.as_bytes(), &mut |hash| hashes.push(hash));
    hashes
}

/// Where a file's filters are, and how large each is.
#[derive(Debug)]
pub struct FilterIndex {
    /// Of the first bitmap, from the start of the file.
    pub offset: u64,
    sizes: Vec<u8>,
}

/// The place that a file's metadata tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterPlace {
    pub offset: u64,
    pub bytes: usize,
    pub crc: u32,
}

impl FilterPlace {
    pub fn to_text(self) -> String {
        format!("1 {} {} {:08x}", self.offset, self.bytes, self.crc)
    }

    /// `None` when it is no place of a version that this program reads: the file is then read without filters.
    pub fn parse(text: &str) -> Option<FilterPlace> {
        let mut words = text.strip_prefix("1 ")?.split(' ');
        let place = FilterPlace {
            offset: words.next()?.parse().ok()?,
            bytes: words.next()?.parse().ok()?,
            crc: u32::from_str_radix(words.next()?, 16).ok()?,
        };
        words.next().is_none().then_some(place)
    }
}

impl FilterIndex {
    /// The head of the filters: their number, then their sizes.
    pub fn write_head(sizes: &[u8]) -> Vec<u8> {
        let mut head = (sizes.len() as u32).to_le_bytes().to_vec();
        head.extend_from_slice(sizes);
        head
    }

    /// Reads it back, from the first bytes at `place`. `None` when it is not what it should be.
    pub fn parse(place: FilterPlace, head: &[u8]) -> Option<FilterIndex> {
        let count = u32::from_le_bytes(*head.first_chunk()?) as usize;
        let sizes = head.get(4..4 + count)?.to_vec();
        let bitmaps: usize =
            sizes.iter().map(|&size| 1usize.checked_shl(u32::from(size)).map_or(0, |bits| bits / 8)).sum();
        let whole = sizes.iter().all(|size| (NARROW..=WIDE).contains(size)) && 4 + count + bitmaps == place.bytes;
        whole.then(|| FilterIndex { offset: place.offset + 4 + count as u64, sizes })
    }

    /// How many filters there are.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// From where to where in the file the bitmaps of some filters are.
    pub fn bytes_of(&self, units: std::ops::Range<usize>) -> Option<std::ops::Range<u64>> {
        let bytes = |sizes: &[u8]| sizes.iter().map(|&size| 1u64 << (size - 3)).sum::<u64>();
        let start = self.offset + bytes(self.sizes.get(..units.start)?);
        Some(start..start + bytes(self.sizes.get(units)?))
    }

    /// For each of some filters, whose bitmaps are `bytes`, whether its rows may match.
    pub fn probe(&self, units: std::ops::Range<usize>, bytes: &[u8], needles: &Needles) -> Vec<bool> {
        let mut rest = bytes;
        let sizes = self.sizes.get(units).unwrap_or_default();
        let probe = |&size: &u8| match rest.split_at_checked(1 << (size - 3)) {
            Some((bitmap, after)) => {
                rest = after;
                needles.may_match(bitmap)
            }
            None => true,
        };
        sizes.iter().map(probe).collect()
    }
}

/// What an expression looks for in messages, hashed once.
pub struct Needles<'a> {
    expr: &'a Expr,
    texts: Vec<(String, Vec<u32>)>,
}

impl<'a> Needles<'a> {
    /// `None` when no filter could tell a page that matches from one that does not.
    pub fn new(expr: &'a Expr) -> Option<Needles<'a>> {
        // Where all texts that have grams were missing, could a row still match?
        if expr.could_match(&mut |text: &str| hashes(text).is_empty()) {
            return None;
        }
        let mut texts: Vec<(String, Vec<u32>)> = Vec::new();
        expr.visit_leaves(&mut |leaf| {
            leaf.could_match(&mut |text: &str| {
                texts.push((text.to_owned(), hashes(text)));
                false
            });
        });
        Some(Needles { expr, texts })
    }

    fn may_match(&self, bitmap: &[u8]) -> bool {
        let mask = (bitmap.len() as u32 * 8).wrapping_sub(1);
        let has = |hash: &u32| {
            let bit = hash & mask;
            bitmap[(bit >> 3) as usize] >> (bit & 7) & 1 == 1
        };
        self.expr.could_match(&mut |text: &str| match self.texts.iter().find(|(known, _)| known == text) {
            Some((_, hashes)) => hashes.iter().all(has),
            None => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn probe(messages: &[String], expr: &Expr) -> Option<bool> {
        let mut filter = GramFilter::default();
        messages.iter().for_each(|message| filter.add(message.as_bytes()));
        let (mut sizes, mut bitmaps) = (Vec::new(), Vec::new());
        filter.finish(&mut sizes, &mut bitmaps);
        let head = FilterIndex::write_head(&sizes);
        let place = FilterPlace { offset: 7, bytes: head.len() + bitmaps.len(), crc: 0 };
        assert_eq!(FilterPlace::parse(&place.to_text()), Some(place));
        let index = FilterIndex::parse(place, &head).unwrap();
        assert_eq!(index.bytes_of(0..1), Some(12..12 + bitmaps.len() as u64));
        let needles = Needles::new(expr)?;
        index.probe(0..1, &bitmaps, &needles).pop()
    }

    fn text(text: &str) -> Expr {
        Expr::Text(text.to_owned())
    }

    #[test]
    fn only_what_can_decide_is_asked() {
        let messages = ["Connection refused by 10.0.0.1".to_owned(), "größe ok, order 592324 deadbeef01".to_owned()];
        for (expr, want) in [
            (text("REFUSED"), Some(true)),
            (text("röß"), Some(true)),
            (text("accepted"), Some(false)),
            (text("ab"), None),
            (text("404"), None),
            (text("10.0.0.2"), Some(false)),
            (text("order 592324"), Some(true)),
            (text("92324"), Some(true)),
            (text("5923240"), Some(false)),
            (text("BEEF01"), Some(true)),
            (text("beef02"), Some(false)),
            (Expr::Not(Box::new(text("accepted"))), None),
            (Expr::All(vec![text("refused"), text("accepted")]), Some(false)),
            (Expr::Any(vec![text("refused"), text("accepted")]), Some(true)),
            (Expr::Any(vec![text("xyz"), text("accepted")]), Some(false)),
            (Expr::Any(vec![text("xy"), text("accepted")]), None),
            (Expr::All(vec![text("xy"), text("accepted")]), Some(false)),
            (Expr::All(vec![]), None),
        ] {
            assert_eq!(probe(&messages, &expr), want, "{expr:?}");
        }
    }

    #[test]
    fn a_full_bitmap_stays_wide() {
        let many: Vec<String> = (0..UNIT_ROWS).map(|n| format!("{:x}", n * n * 7919 + 1_000_000)).collect();
        assert_eq!(probe(&many, &text("no such words")), Some(false));
    }

    proptest! {
        #[test]
        fn what_is_there_is_never_missed(
            messages in proptest::collection::vec("[ -~ß]{0,40}", 1..20),
            at in 0usize..20, from in 0usize..40, length in 3usize..20,
        ) {
            let chars: Vec<char> = messages[at % messages.len()].chars().collect();
            let needle: String = chars.iter().skip(from % chars.len().max(1)).take(length).collect();
            prop_assert!(probe(&messages, &text(&needle.to_ascii_uppercase())) != Some(false));
        }

        #[test]
        fn any_bytes_are_safe(bytes: Vec<u8>, place in "1 [0-9]{1,3} [0-9]{1,3} [0-9a-f]{1,8}") {
            if let Some(place) = FilterPlace::parse(&place)
                && let Some(index) = FilterIndex::parse(place, &bytes)
            {
                index.bytes_of(0..index.len());
            }
        }
    }
}
