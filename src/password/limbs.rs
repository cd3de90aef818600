//! Whole numbers of a few 64-bit limbs, least significant first, in buffers that can be wiped.
//!
//! The number of a password is as secret as the password. `num-bigint` counts, but leaves its heap buffers unwiped, so what handles a drawn
//! number is here: five school-book steps on slices, and the draw itself.

use num_bigint::BigUint;

/// The limbs of the largest count: 128 characters out of 94 need 839 bits.
pub(super) const WIDTH_LIMIT: usize = 14;

/// The number as exactly `width` limbs.
pub(super) fn limbs_of(number: &BigUint, width: usize) -> Vec<u64> {
    let mut limbs = number.to_u64_digits();
    assert!(limbs.len() <= width, "the number is too large for its buffer");
    limbs.resize(width, 0);
    limbs
}

/// Whether `left < right`; both have the same width.
#[inline]
pub(super) fn is_less(left: &[u64], right: &[u64]) -> bool {
    left.iter().rev().lt(right.iter().rev())
}

/// `left -= right`, where `right <= left` and both have the same width.
#[inline]
pub(super) fn subtract(left: &mut [u64], right: &[u64]) {
    let mut borrow = false;
    for (limb, less) in left.iter_mut().zip(right) {
        let (difference, below) = limb.overflowing_sub(*less);
        let (difference, still_below) = difference.overflowing_sub(u64::from(borrow));
        (*limb, borrow) = (difference, below || still_below);
    }
    debug_assert!(!borrow, "a larger number was subtracted from a smaller one");
}

/// `number /= divisor`; returns the remainder.
#[inline]
pub(super) fn divide(number: &mut [u64], divisor: u32) -> u32 {
    let divisor = u64::from(divisor);
    let mut remainder = 0;
    for limb in number.iter_mut().rev() {
        let high = (remainder << 32) | (*limb >> 32);
        let low = ((high % divisor) << 32) | (*limb & u64::from(u32::MAX));
        *limb = ((high / divisor) << 32) | (low / divisor);
        remainder = low % divisor;
    }
    remainder as u32
}

/// `product = left × right`, where the product has the limbs of both.
fn multiply(left: &[u64], right: &[u64], product: &mut [u64]) {
    product.fill(0);
    for (at, factor) in left.iter().enumerate() {
        let mut carry = 0;
        for (limb, other) in product[at..].iter_mut().zip(right) {
            let sum = u128::from(*factor) * u128::from(*other) + u128::from(*limb) + u128::from(carry);
            (*limb, carry) = (sum as u64, (sum >> 64) as u64);
        }
        product[at + right.len()] = carry;
    }
}

/// A number above zero, and exactly uniform draws below it.
///
/// Random bits come in powers of two, and the total `N` is none, so no method maps a bounded number of bits to `0..N` evenly; the last of the bias
/// has to be drawn again. With `k` random bits `x`, `x·N / 2^k` rounded down is the index; it is hit by one `x` too many exactly when the lower
/// `k` bits of `x·N` are below `2^k mod N`, and such an `x` is not used. `k` is at least 64 bits longer than `N`, so that a second draw is needed
/// less than once in 2^64 draws: never, in practice. No password is ever thrown away; nothing has been spelled yet.
/// (D. Lemire, "Fast Random Integer Generation in an Interval", 2019.)
#[derive(Debug)]
pub(super) struct Total {
    limbs: Vec<u64>,
    /// `2^k mod N`, one limb wider than `N`.
    surplus: Vec<u64>,
}

impl Total {
    /// Prepares draws below `total`, which is above zero.
    pub(super) fn new(total: &BigUint) -> Self {
        let limbs = total.to_u64_digits();
        let draw_width = limbs.len() + 1;
        let draws = BigUint::from(1_u8) << (64 * draw_width);
        Self { surplus: limbs_of(&(draws % total), draw_width), limbs }
    }

    /// The limbs of an index.
    pub(super) fn width(&self) -> usize {
        self.limbs.len()
    }

    /// Maps `width + 1` random limbs to an index below the total, written to the upper `width` limbs of the `2 × width + 1` limbs of `product`.
    /// Returns whether the draw counts.
    pub(super) fn place(&self, draw: &[u64], product: &mut [u64]) -> bool {
        multiply(draw, &self.limbs, product);
        !is_less(&product[..draw.len()], &self.surplus)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(limbs: &[u64]) -> BigUint {
        let halves = limbs.iter().flat_map(|limb| [*limb as u32, (*limb >> 32) as u32]);
        BigUint::new(halves.collect())
    }

    fn place(total: &Total, draw: &BigUint) -> Option<BigUint> {
        let mut product = vec![u64::MAX; 2 * total.width() + 1];
        let counts = total.place(&limbs_of(draw, total.width() + 1), &mut product);
        counts.then(|| number(&product[total.width() + 1..]))
    }

    proptest! {
        #[test]
        fn arithmetic_agrees_with_the_library(
            left in prop::collection::vec(any::<u64>(), 1..=WIDTH_LIMIT),
            seed in any::<u64>(),
            divisor in 1_u32..=94,
        ) {
            let right: Vec<u64> = left.iter().map(|limb| limb.rotate_left(21) ^ seed).collect();
            prop_assert_eq!(is_less(&left, &right), number(&left) < number(&right));

            let (small, large) = if is_less(&left, &right) { (&left, &right) } else { (&right, &left) };
            let mut difference = large.clone();
            subtract(&mut difference, small);
            prop_assert_eq!(number(&difference), number(large) - number(small));

            let mut quotient = left.clone();
            prop_assert_eq!(BigUint::from(divide(&mut quotient, divisor)), number(&left) % divisor);
            prop_assert_eq!(number(&quotient), number(&left) / divisor);

            let mut product = vec![seed; 2 * left.len()];
            multiply(&left, &right, &mut product);
            prop_assert_eq!(number(&product), number(&left) * number(&right));
        }

        /// The draws that lead to one index are a run of consecutive ones; its ends are computed here from the definition and tried, and its
        /// length must be the same for every index.
        #[test]
        fn every_index_has_exactly_as_many_draws_as_any_other(
            limbs in prop::collection::vec(any::<u64>(), 1..4),
            small in prop::option::of(1_u64..12),
            at in any::<u64>(),
        ) {
            let total = small.map_or_else(|| number(&limbs) + 1_u8, BigUint::from);
            let drawn = Total::new(&total);
            let draws = BigUint::from(1_u8) << (64 * (drawn.width() + 1));
            let surplus = &draws % &total;
            let index = BigUint::from(at) * BigUint::from(at) * BigUint::from(at) % &total;

            let first = (&index * &draws + &surplus).div_ceil(&total);
            let last = ((&index + 1_u8) * &draws).div_ceil(&total) - 1_u8;
            prop_assert_eq!(&last - &first + 1_u8, &draws / &total);
            prop_assert_eq!(place(&drawn, &first), Some(index.clone()));
            prop_assert_eq!(place(&drawn, &last), Some(index.clone()));
            if first > BigUint::ZERO {
                prop_assert_ne!(place(&drawn, &(&first - 1_u8)), Some(index.clone()));
            }
            if &last + 1_u8 < draws {
                prop_assert_ne!(place(&drawn, &(&last + 1_u8)), Some(index));
            }
        }
    }

    trait DivCeil {
        fn div_ceil(&self, divisor: &BigUint) -> BigUint;
    }

    impl DivCeil for BigUint {
        fn div_ceil(&self, divisor: &BigUint) -> BigUint {
            (self + divisor - 1_u8) / divisor
        }
    }
}
