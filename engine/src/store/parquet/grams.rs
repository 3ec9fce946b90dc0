//! Page filters: for a thousand rows a bitmap of the grams of their messages, A–Z folded, so that a query for a
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
//! | 4 | 2 n | bytes of each |
//! | 4 + 2 n | | the bitmaps, one after another; the bit of a hash h, of 18 bits, in a bitmap of m: ⌊h · m / 2¹⁸⌋ |

use record::filter::Expr;

/// Rows that one filter is about.
pub const UNIT_ROWS: usize = 1024;

/// Bits of a hash, and of the bitmap in which hashes are gathered: 32 KiB, which stays in the nearest cache.
const HASH_BITS: u8 = 18;
/// Bytes of a bitmap for 16 grams: a third of its bits are then set, so that a word of six letters, which has four
/// grams, is found in one page of a hundred by chance.
const BYTES_FOR_16_GRAMS: usize = 5;
const BITMAP_BYTES_MIN: usize = 64;
const BITMAP_BYTES_MAX: usize = 1 << (HASH_BITS - 3);

/// The filter of one unit under construction.
pub struct GramFilter {
    bits: Vec<u64>,
    rows: usize,
}

impl Default for GramFilter {
    fn default() -> Self {
        GramFilter { bits: vec![0; 1 << (HASH_BITS - 6)], rows: 0 }
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
    pub fn finish(&mut self, sizes: &mut Vec<u16>, bitmaps: &mut Vec<u8>) {
        let grams: usize = self.bits.iter().map(|word| word.count_ones() as usize).sum();
        let bytes = (grams * BYTES_FOR_16_GRAMS).div_ceil(16).clamp(BITMAP_BYTES_MIN, BITMAP_BYTES_MAX);
        let start = bitmaps.len();
        bitmaps.resize(start + bytes, 0);
        for (at, word) in self.bits.iter_mut().enumerate() {
            while *word != 0 {
                let hash = (at as u32) << 6 | word.trailing_zeros();
                let (byte, bit) = bit_of(hash, bytes);
                bitmaps[start + byte] |= bit;
                *word &= *word - 1;
            }
        }
        sizes.push(bytes as u16);
        self.rows = 0;
    }
}

/// Where in a bitmap of so many bytes the bit of a hash is.
fn bit_of(hash: u32, bytes: usize) -> (usize, u8) {
    let bit = (u64::from(hash) * (bytes as u64 * 8)) >> HASH_BITS;
    ((bit >> 3) as usize, 1 << (bit & 7))
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
    (gram.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - HASH_BITS)) as u32
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
    sizes: Vec<u16>,
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
    pub fn write_head(sizes: &[u16]) -> Vec<u8> {
        let mut head = (sizes.len() as u32).to_le_bytes().to_vec();
        sizes.iter().for_each(|size| head.extend_from_slice(&size.to_le_bytes()));
        head
    }

    /// Bytes of the head of so many filters.
    pub fn head_bytes(filters: usize) -> usize {
        4 + 2 * filters
    }

    /// Reads it back, from the first bytes at `place`. `None` when it is not what it should be.
    pub fn parse(place: FilterPlace, head: &[u8]) -> Option<FilterIndex> {
        let count = u32::from_le_bytes(*head.first_chunk()?) as usize;
        let sizes = head.get(4..FilterIndex::head_bytes(count))?.chunks_exact(2);
        let sizes: Vec<u16> = sizes.map(|size| u16::from_le_bytes([size[0], size[1]])).collect();
        let bitmaps: usize = sizes.iter().map(|&size| usize::from(size)).sum();
        let head = FilterIndex::head_bytes(count);
        let whole = sizes.iter().all(|&size| size > 0) && head + bitmaps == place.bytes;
        whole.then(|| FilterIndex { offset: place.offset + head as u64, sizes })
    }

    /// How many filters there are.
    pub fn len(&self) -> usize {
        self.sizes.len()
    }

    /// From where to where in the file the bitmaps of some filters are.
    pub fn bytes_of(&self, units: std::ops::Range<usize>) -> Option<std::ops::Range<u64>> {
        let bytes = |sizes: &[u16]| sizes.iter().map(|&size| u64::from(size)).sum::<u64>();
        let start = self.offset + bytes(self.sizes.get(..units.start)?);
        Some(start..start + bytes(self.sizes.get(units)?))
    }

    /// For each of some filters, whose bitmaps are `bytes`, whether its rows may match.
    pub fn probe(&self, units: std::ops::Range<usize>, bytes: &[u8], needles: &Needles) -> Vec<bool> {
        let mut rest = bytes;
        let sizes = self.sizes.get(units).unwrap_or_default();
        let probe = |&size: &u16| match rest.split_at_checked(usize::from(size)) {
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
        let has = |hash: &u32| {
            let (byte, bit) = bit_of(*hash, bitmap.len());
            bitmap[byte] & bit != 0
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
        assert_eq!(index.bytes_of(0..1), Some(13..13 + bitmaps.len() as u64));
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
