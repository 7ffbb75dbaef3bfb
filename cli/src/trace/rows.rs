//! Rows of a trace: a queue each, one for the host, and those that spans name.

/// What a row is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// Everything that names no row.
    Host,
    /// A device's queue.
    Queue(u64),
    /// A name of its own.
    Named(String),
}

/// A row's place in the trace; spans in one lane nest, or follow each other.
struct Lane {
    row: Row,
    is_taken: bool,
}

/// All rows so far. Spans of one row that overlap and do not nest go to lanes side by side.
#[derive(Default)]
pub struct Rows {
    lanes: Vec<Lane>,
    devices: Vec<(u64, String)>,
}

impl Rows {
    /// A free lane of a row, and its name if it is new.
    pub fn take(&mut self, row: &Row) -> (usize, Option<String>) {
        if let Some(lane) = self.lanes.iter().position(|lane| lane.row == *row && !lane.is_taken) {
            self.lanes[lane].is_taken = true;
            return (lane, None);
        }
        self.lanes.push(Lane { row: row.clone(), is_taken: true });
        let lane = self.lanes.len() - 1;
        (lane, Some(self.name(lane)))
    }

    /// A lane is free again.
    pub fn give_back(&mut self, lane: usize) {
        if let Some(lane) = self.lanes.get_mut(lane) {
            lane.is_taken = false;
        }
    }

    /// Says what the device of a queue is called; returns the lanes that have another name now.
    pub fn name_queue(&mut self, queue: u64, device: &str) -> Vec<(usize, String)> {
        self.devices.retain(|(other, _)| *other != queue);
        self.devices.push((queue, device.to_string()));
        let lanes = (0..self.lanes.len()).filter(|&lane| self.lanes[lane].row == Row::Queue(queue));
        lanes.map(|lane| (lane, self.name(lane))).collect()
    }

    fn name(&self, lane: usize) -> String {
        let row = &self.lanes[lane].row;
        let name = match row {
            Row::Host => "host".to_string(),
            Row::Named(name) => name.clone(),
            Row::Queue(queue) => match self.devices.iter().find(|(other, _)| other == queue) {
                Some((_, device)) => format!("queue {queue}: {device}"),
                None => format!("queue {queue}"),
            },
        };
        match self.lanes[..lane].iter().filter(|other| other.row == *row).count() {
            0 => name,
            before => format!("{name} ({})", before + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_overlaps_goes_to_lanes_side_by_side() {
        let mut rows = Rows::default();
        let named = |name: &str| Some(name.to_string());
        assert_eq!(rows.take(&Row::Host), (0, named("host")));
        assert_eq!(rows.take(&Row::Host), (1, named("host (2)")));
        assert_eq!(rows.take(&Row::Queue(0)), (2, named("queue 0")));
        rows.give_back(0);
        assert_eq!(rows.take(&Row::Host), (0, None));
    }

    #[test]
    fn queues_are_named_by_their_devices() {
        let mut rows = Rows::default();
        assert_eq!(rows.name_queue(1, "one"), []);
        assert_eq!(rows.take(&Row::Queue(1)).1, Some("queue 1: one".into()));
        assert_eq!(rows.name_queue(1, "another"), [(0, "queue 1: another".to_string())]);
    }
}
