//! The only source of chance: SplitMix64 (Steele, Lea, Flood 2014), so that a
//! seed gives the same run for ever.

use avvy_model::{BraneId, ClientId, GrantId, ObjectId, UserId};
use uuid::Uuid;

/// A generator.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Seeds that lie close together give unrelated numbers.
    pub fn new(seed: u64) -> Self {
        let mut rng = Self(seed ^ 0x5851_f42d_4c95_7f2d);
        rng.next();
        rng
    }

    /// 64 even bits.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, but without, `end`; 0 when that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.next() % end }
    }

    /// From `low` to `high`, both included.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True so many times in a million.
    pub fn ppm(&mut self, millionths: u64) -> bool {
        self.below(1_000_000) < millionths
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }

    /// An exponentially distributed number, cut at twenty times its mean.
    pub fn exponential(&mut self, mean: u64) -> u64 {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((1.0 - unit).ln() * -(mean as f64)).min(mean as f64 * 20.0) as u64
    }

    fn uuid(&mut self) -> Uuid {
        let bits = u128::from(self.next()) << 64 | u128::from(self.next());
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }

    /// A new brane's id.
    pub fn brane_id(&mut self) -> BraneId {
        BraneId::new(self.uuid())
    }

    /// A new client's id.
    pub fn client_id(&mut self) -> ClientId {
        ClientId::new(self.uuid())
    }

    /// A new object's id.
    pub fn object_id(&mut self) -> ObjectId {
        ObjectId::new(self.uuid())
    }

    /// A new grant's id.
    pub fn grant_id(&mut self) -> GrantId {
        GrantId::new(self.uuid())
    }

    /// A new user's id.
    pub fn user_id(&mut self) -> UserId {
        UserId::new(self.uuid())
    }
}
