//! How many characters of which classes a password must hold at least.

use super::alphabet::{Class, ClassSet};

/// A minimum for each set of classes: "at least 3 letters of either case" is 3 for the set of lower and upper.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(super) struct Minima([u32; ClassSet::SETS]);

impl Minima {
    /// Asks for at least `least` characters out of these classes, or for more if more were asked already.
    pub(super) fn raise(&mut self, classes: ClassSet, least: u32) {
        let minimum = &mut self.0[classes.number()];
        *minimum = least.max(*minimum);
    }

    /// What is still asked for after one character of this class.
    pub(super) fn after(mut self, class: Class) -> Self {
        for classes in ClassSet::every().filter(|classes| classes.contains(class)) {
            let minimum = &mut self.0[classes.number()];
            *minimum = minimum.saturating_sub(1);
        }
        self
    }

    /// The sets of which at least one character is asked for, each with its minimum.
    pub(super) fn asked(&self) -> impl Iterator<Item = (ClassSet, u32)> {
        ClassSet::every().map(|classes| (classes, self.0[classes.number()])).filter(|(_, least)| *least > 0)
    }

    /// No shorter password can meet these minima. (It is exact when of any two sets one holds the other or they share no class.)
    pub(super) fn least_length(&self) -> u64 {
        let mut needed = [0_u64; ClassSet::SETS];
        for whole in ClassSet::every() {
            needed[whole.number()] = ClassSet::every()
                .filter(|part| part.is_within(whole) && *part != whole)
                .map(|part| needed[part.number()] + needed[whole.without(part).number()])
                .fold(u64::from(self.0[whole.number()]), u64::max);
        }
        needed[ClassSet::ALL.number()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Class::{Digit, Lower, Special, Upper};

    type Asked<'a> = &'a [(&'a [Class], u32)];

    fn minima(rows: Asked<'_>) -> Minima {
        let mut minima = Minima::default();
        for (classes, least) in rows {
            minima.raise(ClassSet::of(classes), *least);
        }
        minima
    }

    #[test]
    fn the_least_length_adds_what_does_not_overlap_and_nothing_else() {
        let rows: &[(Asked<'_>, u64)] = &[
            (&[], 0),
            (&[(&[Lower], 2), (&[Digit], 3)], 5),
            (&[(&[Lower], 2), (&[Upper], 1), (&[Lower, Upper], 2)], 3),
            (&[(&[Lower], 2), (&[Upper], 1), (&[Lower, Upper], 5)], 5),
            (&[(&[Lower, Upper], 16), (&[Digit], 16), (&[Special], 16)], 48),
            (&[(&[Lower], u32::MAX), (&[Digit], u32::MAX)], 2 * u64::from(u32::MAX)),
        ];
        for (asked, least) in rows {
            assert_eq!(minima(asked).least_length(), *least, "{asked:?}");
        }
    }

    #[test]
    fn a_character_counts_for_every_set_that_holds_its_class() {
        let before = minima(&[(&[Lower], 2), (&[Lower, Upper], 1), (&[Digit], 1)]);
        assert_eq!(before.after(Lower), minima(&[(&[Lower], 1), (&[Digit], 1)]));
        assert_eq!(before.after(Special), before);
        assert_eq!(before.asked().count(), 3);
    }

    #[test]
    fn raising_never_lowers() {
        let mut minima = minima(&[(&[Digit], 4)]);
        minima.raise(ClassSet::of(&[Digit]), 2);
        assert_eq!(minima.least_length(), 4);
    }
}
