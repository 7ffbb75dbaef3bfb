//! What a run of the tests may not skip.

/// Whether `HEMAN_REQUIRE`, names separated by commas, holds `name`: skipping a test for want of it is a failure then.
#[must_use]
pub fn is_required(name: &str) -> bool {
    holds(&std::env::var("HEMAN_REQUIRE").unwrap_or_default(), name)
}

fn holds(list: &str, name: &str) -> bool {
    list.split(',').any(|item| item.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_items_of_the_list() {
        assert!(holds("emulation", "emulation"));
        assert!(holds("emulation, seal", "seal"));
        assert!(!holds("emulations", "emulation"));
        assert!(!holds("", "seal"));
    }
}
