//! Plots as inline SVG, all of the same width. Colours come from the page's style.

/// Width of all plots, in units of the drawing.
pub const WIDTH: f64 = 760.0;
/// Colours that the style knows.
const COLOURS: usize = 5;

/// Text in which nothing is markup.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// A drawing that grows.
pub struct Drawing {
    height: f64,
    label: String,
    body: String,
}

/// Where a text stands beside its point.
#[derive(Clone, Copy)]
pub enum Anchor {
    /// It begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

impl Drawing {
    /// A drawing of a height; `label` says what it shows to those who do not see it.
    pub fn new(height: f64, label: &str) -> Self {
        Self { height, label: escaped(label), body: String::new() }
    }

    /// A filled rectangle with a text that appears on hovering.
    pub fn bar(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: usize, title: &str) {
        let (class, title) = (colour % COLOURS, escaped(title));
        self.body += &format!(
            "<rect class=\"c{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\"><title>{title}</title></rect>",
            width.max(0.5),
            height.max(0.0),
        );
    }

    /// A line of a class.
    pub fn line(&mut self, (x, y): (f64, f64), (to_x, to_y): (f64, f64), class: &str) {
        self.body +=
            &format!("<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{y:.1}\" x2=\"{to_x:.1}\" y2=\"{to_y:.1}\"/>");
    }

    /// A line through points, each marked.
    pub fn curve(&mut self, points: &[((f64, f64), String)], colour: usize) {
        let class = colour % COLOURS;
        let list: Vec<String> = points.iter().map(|((x, y), _)| format!("{x:.1},{y:.1}")).collect();
        self.body += &format!("<polyline class=\"curve s{class}\" points=\"{}\"/>", list.join(" "));
        for ((x, y), title) in points {
            let title = escaped(title);
            self.body += &format!(
                "<circle class=\"c{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{title}</title></circle>"
            );
        }
    }

    /// A text of a class, which may be empty.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.body +=
            &format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
    }

    /// The element, with a caption below it.
    pub fn figure(self, caption: &str) -> String {
        let Self { height, label, body } = self;
        let caption = escaped(caption);
        format!(
            "<figure><svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" aria-label=\"{label}\">{body}</svg>\
             <figcaption>{caption}</figcaption></figure>\n"
        )
    }
}

/// Round values from zero to beyond `most`, about five.
pub fn ticks(most: f64) -> Vec<f64> {
    if most.is_nan() || most <= 0.0 || most.is_infinite() {
        return vec![0.0, 1.0];
    }
    let power = 10.0_f64.powf((most / 4.0).log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| most / step <= 5.0);
    let step = step.unwrap_or(10.0 * power);
    (0..=(most / step).ceil() as usize).map(|at| at as f64 * step).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_reach_beyond() {
        assert_eq!(ticks(1.0), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        assert_eq!(ticks(37.0), [0.0, 10.0, 20.0, 30.0, 40.0]);
        assert_eq!(ticks(f64::NAN), [0.0, 1.0]);
    }

    #[test]
    fn names_cannot_be_markup() {
        assert_eq!(escaped("<b a=\"1\">&'"), "&lt;b a=&quot;1&quot;&gt;&amp;&#39;");
    }
}
