//! The capacity of a line: how its memory is given back after a burst.
//!
//! A caller that adds an item reserves the room first (`try_reserve`): out of memory is an error, and nothing has
//! changed. A caller that has taken an item calls `shed`, so that the memory of a burst does not stay for ever.

use std::collections::VecDeque;

/// The capacity that is kept in any case: a queue that swings below it never asks the allocator.
const FLOOR: usize = 1024;

/// Memory is given back if less than a quarter of it is in use; twice of the memory in use is kept. So half of the
/// items must go, or as many must come, before memory is moved again: that is a constant cost for each item.
#[inline]
pub(crate) fn shed<T>(items: &mut VecDeque<T>) {
    if items.capacity() > FLOOR && items.len() < items.capacity() / 4 {
        shrink(items);
    }
}

/// The items move into a smaller buffer, if there is one to be had: `VecDeque::shrink_to` aborts if not.
#[cold]
fn shrink<T>(items: &mut VecDeque<T>) {
    let mut smaller = VecDeque::new();
    if smaller.try_reserve_exact(FLOOR.max(2 * items.len())).is_ok() {
        smaller.append(items);
        *items = smaller;
    }
}

#[cfg(all(test, not(any(loom, wakefd_steps))))]
mod tests {
    use super::{FLOOR, shed};
    use std::collections::VecDeque;

    #[test]
    fn the_memory_of_a_burst_is_given_back() {
        let mut items: VecDeque<usize> = (0..1 << 20).collect();
        let mut moved = 0;
        for n in 0..1 << 20 {
            let before = items.capacity();
            assert_eq!(items.pop_front(), Some(n));
            shed(&mut items);
            if items.capacity() != before {
                moved += items.len();
            }
            assert!(items.capacity() <= FLOOR.max(4 * items.len() + 4));
        }
        assert_eq!(items.capacity(), FLOOR);
        assert!(
            moved <= 1 << 19,
            "{moved} moves: each of them has cost more than it should"
        );
    }

    #[test]
    fn a_line_that_swings_below_the_floor_keeps_its_memory() {
        let mut items: VecDeque<usize> = VecDeque::with_capacity(FLOOR);
        let before = items.capacity();
        for _ in 0..3 {
            items.extend(0..FLOOR);
            while items.pop_back().is_some() {
                shed(&mut items);
            }
            assert_eq!(items.capacity(), before);
        }
    }

    #[test]
    fn items_that_go_round_the_end_stay_in_order() {
        let mut items: VecDeque<usize> = VecDeque::with_capacity(8 * FLOOR);
        items.extend(0..items.capacity() - 10);
        items.drain(..items.len() - 5);
        let first = items[0];
        items.extend((5..20).map(|n| first + n));
        assert!(!items.as_slices().1.is_empty());
        shed(&mut items);
        assert_eq!(items.capacity(), FLOOR);
        assert!(items.iter().copied().eq(first..first + 20));
    }
}
