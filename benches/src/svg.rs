//! Charts as SVG, drawn by hand, readable on light and on dark ground: a group of bars for each line of a table, one bar a cache; lines over
//! time.

use std::fmt::Write;

const WIDTH: usize = 940;
/// Where bars begin: left of it stand the groups' names.
const LEFT: usize = 330;
/// Where the longest bar ends: right of it stands its figure.
const RIGHT: usize = 880;
const TOP: usize = 76;
const BAR: usize = 10;
const GAP: usize = 10;

/// Okabe and Ito's colours, which those who see few colours can tell apart too, a little darker or lighter for either ground.
const COLOURS: [&str; 7] = ["#0072b2", "#e69f00", "#009e73", "#66c2a5", "#cc79a7", "#8c8c8c", "#d55e00"];

/// A bar chart.
pub struct Chart {
    title: String,
    series: Vec<String>,
    groups: Vec<(String, Vec<Option<f64>>)>,
}

impl Chart {
    /// One without bars yet; each group will have one for each of the series.
    #[must_use]
    pub fn new(title: &str, series: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            series: series.iter().map(|&name| name.to_owned()).collect(),
            groups: Vec::new(),
        }
    }

    /// A group of bars: one value for each of the series, `None` where there is none.
    pub fn group(&mut self, name: String, values: impl IntoIterator<Item = Option<f64>>) {
        self.groups.push((name, values.into_iter().collect()));
    }

    /// What it looks like.
    #[must_use]
    pub fn svg(&self) -> String {
        let group_height = self.series.len() * BAR + GAP;
        let height = TOP + self.groups.len() * group_height + GAP;
        let mut svg = opened(height, &self.title, self.series.iter().map(String::as_str));
        let most = self.groups.iter().flat_map(|(_, values)| values.iter().flatten()).copied().fold(0.0, f64::max);
        let scale = (RIGHT - LEFT) as f64 / most.max(f64::MIN_POSITIVE);
        let step = step(most);
        for tick in (0..).map(|n| f64::from(n) * step).take_while(|tick| *tick <= most) {
            let x = LEFT + (tick * scale) as usize;
            _ = writeln!(svg, "<path class=\"grid\" d=\"M{x} {}V{}\"/>", TOP - 8, height - GAP);
            text(&mut svg, x, TOP - 12, "middle", &short(tick));
        }
        for (n, (name, values)) in self.groups.iter().enumerate() {
            let top = TOP + n * group_height;
            text(&mut svg, LEFT - 8, top + group_height / 2, "end", name);
            for (n, value) in values.iter().enumerate() {
                let (y, Some(value)) = (top + n * BAR, value) else { continue };
                let length = (value * scale) as usize;
                bar(&mut svg, (LEFT, y), (length.max(1), BAR - 1), n);
                text(&mut svg, LEFT + length + 4, y + BAR - 1, "start\" font-size=\"9", &format!("{value:.2}"));
            }
        }
        svg + "</svg>\n"
    }
}

/// Lines over time, one value for each step of it.
pub struct Lines {
    title: String,
    unit: String,
    shaded: Option<(f64, f64)>,
    lines: Vec<(String, Vec<f64>)>,
}

/// The lowest and the leftmost place of lines, and how high and wide they are.
const FLOOR: usize = 340;
const MARGIN: usize = 50;
const HEIGHT: f64 = 260.0;
const LENGTH: f64 = 870.0;

impl Lines {
    /// A chart without lines yet. `unit`: that of a step of time.
    #[must_use]
    pub fn new(title: &str, unit: &str) -> Self {
        Self { title: title.to_owned(), unit: unit.to_owned(), shaded: None, lines: Vec::new() }
    }

    /// A part of the time that is told apart.
    pub fn shade(&mut self, from: f64, to: f64) {
        self.shaded = Some((from, to));
    }

    /// A line.
    pub fn line(&mut self, name: &str, values: Vec<f64>) {
        self.lines.push((name.to_owned(), values));
    }

    /// What it looks like.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut svg = opened(FLOOR + 40, &self.title, self.lines.iter().map(|(name, _)| name.as_str()));
        let most = self.lines.iter().flat_map(|(_, values)| values).copied().fold(0.0, f64::max);
        let steps = self.lines.iter().map(|(_, values)| values.len()).max().unwrap_or(0).max(2) - 1;
        let x = |step: f64| MARGIN as f64 + step * LENGTH / steps as f64;
        let y = |value: f64| FLOOR as f64 - value * HEIGHT / most.max(f64::MIN_POSITIVE);
        if let Some((from, to)) = self.shaded {
            let (left, width) = (x(from), x(to) - x(from));
            let top = FLOOR as f64 - HEIGHT;
            _ = writeln!(
                svg,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{HEIGHT:.1}\" fill=\"#888\" opacity=\"0.15\"/>"
            );
        }
        let spaced = |most: f64| {
            let step = step(most);
            (0..).map(move |n| f64::from(n) * step).take_while(move |tick| *tick <= most)
        };
        for tick in spaced(most) {
            _ = writeln!(svg, "<path class=\"grid\" d=\"M{MARGIN} {:.1}h{LENGTH}\"/>", y(tick));
            text(&mut svg, MARGIN - 6, y(tick) as usize + 4, "end", &short(tick));
        }
        for tick in spaced(steps as f64) {
            text(&mut svg, x(tick) as usize, FLOOR + 18, "middle", &format!("{} {}", short(tick), self.unit));
        }
        for (n, (_, values)) in self.lines.iter().enumerate() {
            let points: Vec<String> = values
                .iter()
                .enumerate()
                .map(|(step, value)| format!("{:.1},{:.1}", x(step as f64), y(*value)))
                .collect();
            let colour = COLOURS[n % COLOURS.len()];
            _ = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
                points.join(" ")
            );
        }
        svg + "</svg>\n"
    }
}

/// The begin of a chart: its ground, its title, and what its colours mean.
fn opened<'a>(height: usize, title: &str, names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <style>text {{ fill: #222 }} .grid {{ stroke: #ccc }} \
         @media (prefers-color-scheme: dark) {{ text {{ fill: #ddd }} .grid {{ stroke: #444 }} }}</style>\n",
    );
    text(&mut svg, 10, 20, "start\" font-size=\"14", title);
    let apart = (WIDTH - 20) / names.len().max(1);
    for (n, name) in names.enumerate() {
        let x = 10 + n * apart;
        bar(&mut svg, (x, 34), (BAR, BAR), n);
        text(&mut svg, x + BAR + 4, 43, "start", name);
    }
    svg
}

fn bar(svg: &mut String, (x, y): (usize, usize), (width, height): (usize, usize), colour: usize) {
    let colour = COLOURS[colour % COLOURS.len()];
    _ = writeln!(svg, "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" fill=\"{colour}\"/>");
}

fn text(svg: &mut String, x: usize, y: usize, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    _ = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{words}</text>");
}

/// How far apart the lines of the grid stand: 1, 2 or 5 times a power of ten, some four to ten lines.
fn step(most: f64) -> f64 {
    let power = 10f64.powf((most / 10.0).max(f64::MIN_POSITIVE).log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|times| times * power).into_iter().find(|step| most / step <= 10.0).unwrap_or(most)
}

fn short(tick: f64) -> String {
    let words = format!("{tick:.2}");
    words.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grid_has_round_numbers() {
        assert_eq!(step(10.0), 1.0);
        assert_eq!(step(3.0), 0.5);
        assert_eq!(step(17.0), 2.0);
        assert_eq!((short(0.5), short(2.0)), ("0.5".to_owned(), "2".to_owned()));
    }

    #[test]
    fn the_longest_bar_ends_at_the_right_and_others_in_proportion() {
        let mut chart = Chart::new("a < b", &["one", "two", "three"]);
        chart.group("group".to_owned(), [Some(1.0), None, Some(4.0)]);
        let svg = chart.svg();
        let long = format!("width=\"{}\" height=\"9\"", RIGHT - LEFT);
        let short = format!("width=\"{}\" height=\"9\"", (RIGHT - LEFT) / 4);
        assert!(svg.contains(&long) && svg.contains(&short), "{svg}");
        assert!(svg.contains("a &lt; b"));
        // Three in the legend, two in the group.
        assert_eq!(svg.matches("<rect").count(), 5);
    }

    #[test]
    fn a_line_goes_from_the_left_to_the_right_and_as_high_as_its_values() {
        let mut lines = Lines::new("title", "s");
        lines.line("one", vec![0.0, 10.0, 5.0]);
        lines.shade(1.0, 2.0);
        let svg = lines.svg();
        assert!(svg.contains("points=\"50.0,340.0 485.0,80.0 920.0,210.0\""), "{svg}");
        assert!(svg.contains("<rect x=\"485.0\" y=\"80.0\" width=\"435.0\""), "{svg}");
    }
}
