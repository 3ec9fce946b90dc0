//! A small random number generator of our own: the same numbers from the same seed on every machine, a nanosecond each.

/// SplitMix64 (Steele, Lea, Flood 2014): any state is a good one, so a stream can be begun at any number.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// The stream of one seed and one position; neighbouring positions have nothing in common.
    pub fn at(seed: u64, position: u64) -> Rng {
        Rng(mix(seed).wrapping_add(position.wrapping_mul(0xd1b5_4a32_d192_ed03)))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
