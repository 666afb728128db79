//! Well-formed SVG: every text is escaped here, every tag is closed here.

/// What colours a chart has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Palette {
    pub(super) background: &'static str,
    pub(super) text: &'static str,
    pub(super) ours: &'static str,
    pub(super) beside: &'static str,
    pub(super) target: &'static str,
}

/// On a light page. Every colour stands out from the background by 3 to 1 at least, text by 4.5 to 1.
pub(super) const LIGHT: Palette = Palette {
    background: "#ffffff",
    text: "#1f2328",
    ours: "#0969da",
    beside: "#818b98",
    target: "#b3202c",
};
/// On a dark page.
pub(super) const DARK: Palette = Palette {
    background: "#0d1117",
    text: "#e6edf3",
    ours: "#4493f8",
    beside: "#7d8590",
    target: "#ff8e82",
};

/// A drawing that grows.
#[derive(Debug, Default)]
pub(super) struct Drawing(String);

impl Drawing {
    /// Draws a box.
    pub(super) fn rect(&mut self, [x, y, width, height]: [f64; 4], fill: &str) {
        self.0.push_str(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>\n"
        ));
    }

    /// Draws a line.
    pub(super) fn line(&mut self, [x1, y1, x2, y2]: [f64; 4], stroke: &str, width: f64) {
        self.0.push_str(&format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>\n"
        ));
    }

    /// Writes a text from a place on; `style` is more attributes.
    pub(super) fn text(&mut self, x: f64, y: f64, style: &str, text: &str) {
        let text = escaped(text);
        self.0.push_str(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{text}</text>\n"
        ));
    }

    /// Ends the drawing. Readers of the screen are told the title and the description.
    pub(super) fn finish(
        self,
        size: (f64, f64),
        title: &str,
        description: &str,
        palette: &Palette,
    ) -> String {
        let (width, height) = size;
        let Palette {
            background, text, ..
        } = palette;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
             height=\"{height:.0}\" role=\"img\" aria-labelledby=\"title description\" fill=\"{text}\" \
             font-family=\"system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif\" font-size=\"13\">\n\
             <title id=\"title\">{}</title>\n<desc id=\"description\">{}</desc>\n\
             <rect width=\"{width:.0}\" height=\"{height:.0}\" fill=\"{background}\"/>\n{}</svg>\n",
            escaped(title),
            escaped(description),
            self.0
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
