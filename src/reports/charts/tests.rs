use granary_types::Currency;

use super::*;

const FORMS: [Form; 8] =
    [Form::Line, Form::Area, Form::Bar, Form::StackedBar, Form::HorizontalBar, Form::Sparkline, Form::HeatStrip, Form::Meter];
const UNITS: [Unit; 5] = [Unit::Count, Unit::Money(Currency::USD), Unit::Bytes, Unit::Percent, Unit::Minutes];
const PRINT: Target = Target::Print { brand: Color::HOUSE, width_pt: 240.0 };

fn chart(form: Form, unit: Unit, values: &[Option<i64>]) -> ChartSpec {
    let points = values.iter().enumerate().map(|(index, value)| (format!("M{index}"), *value));
    ChartSpec::new("id", "Machines", unit, form, points)
}

/// Every tag is closed, every attribute quoted, every ampersand an entity.
fn assert_well_formed(markup: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = markup;
    while let Some(start) = rest.find('<') {
        let (text, tail) = rest.split_at(start);
        assert!(!text.contains('>'), "stray > in {text}");
        let end = tail.find('>').expect("a tag ends");
        let tag = &tail[1..end];
        rest = &tail[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "in {markup}");
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "quotes of <{tag}>");
        let name = tag.split([' ', '/']).next().unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()), "name of <{tag}>");
        if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
    for part in markup.split('&').skip(1) {
        let entity = part.split(';').next().unwrap();
        assert!(["amp", "lt", "gt", "quot", "#39"].contains(&entity), "&{entity}");
    }
    assert!(!markup.contains("NaN") && !markup.contains("inf\""));
}

#[test]
fn every_form_renders_for_page_and_print() {
    for form in FORMS {
        for unit in UNITS {
            for target in [Target::Web, PRINT] {
                let mut spec = chart(form, unit, &[Some(9_000), None, Some(9_990), Some(10_000)]);
                spec = spec.with_series("Before", SeriesRole::Previous, vec![Some(8_000), Some(1), None]).with_target(9_950).so_far();
                let markup = render(&spec, target);
                assert_well_formed(&markup);
                assert!(markup.contains("<svg"), "{form:?}");
                let has_marks = ["<path", "<rect", "<line"].iter().any(|mark| markup.contains(mark));
                assert!(has_marks, "{form:?} {unit:?}");
            }
        }
    }
}

#[test]
fn extremes_and_gaps_render_too() {
    for form in FORMS {
        for values in
            [vec![], vec![None], vec![None, None], vec![Some(0)], vec![Some(i64::MAX), Some(i64::MIN)], vec![Some(-5), None, Some(3)]]
        {
            for target in [Target::Web, PRINT] {
                assert_well_formed(&render(&chart(form, Unit::Count, &values), target));
            }
        }
    }
}

#[test]
fn a_bar_of_nothing_is_not_drawn() {
    for form in [Form::Bar, Form::StackedBar] {
        let paper = render(&chart(form, Unit::Count, &[Some(0), Some(3)]), PRINT);
        assert_eq!(paper.matches("<rect").count(), 1, "a rectangle without height is not valid everywhere");
    }
}

#[test]
fn no_data_is_said_and_is_not_zero() {
    let empty = chart(Form::Bar, Unit::Count, &[None, None]);
    assert!(render(&empty, Target::Web).contains("No data for this time."));
    assert!(render(&empty, PRINT).contains("No data for this time."));
    let zero = chart(Form::Bar, Unit::Count, &[Some(0), None]);
    let markup = render(&zero, Target::Web);
    assert!(!markup.contains("No data for this time."));
    assert!(markup.contains("M0: 0") && markup.contains("M1: no data"));
}

#[test]
fn hostile_names_stay_text() {
    let hostile = "</title><script>alert('x')</script>\"&\u{0}\u{202e}😀";
    for form in FORMS {
        let mut spec = ChartSpec::new(hostile, hostile, Unit::Count, form, [(hostile.to_owned(), Some(3)), (hostile.to_owned(), Some(4))]);
        spec = spec
            .with_series(hostile, SeriesRole::Previous, vec![Some(1), Some(2)])
            .with_links(vec![hostile.to_owned(), hostile.to_owned()]);
        for target in [Target::Web, PRINT] {
            let markup = render(&spec, target);
            assert_well_formed(&markup);
            assert!(!markup.contains("<script") && !markup.contains('\u{0}'));
        }
    }
}

#[test]
fn a_page_gets_classes_and_print_gets_literals() {
    let spec = chart(Form::Area, Unit::Money(Currency::USD), &[Some(100), Some(200)]);
    let page = render(&spec, Target::Web);
    assert!(page.contains("role=\"group\"") && page.contains("aria-labelledby=\"id-title\"") && page.contains("<details"));
    assert!(!page.contains("style=") && !page.contains("fill=\"#"));
    assert_eq!(page.matches("class=\"hit\"").count(), 2);
    let paper = render(&spec, PRINT);
    assert!(paper.contains("#0b6e4f") && paper.contains("font-family=\"Inter\""));
    assert!(!paper.contains("class=") && !paper.contains("var(") && !paper.contains('%'));
}

#[test]
fn every_bucket_opens_its_rows() {
    let spec = chart(Form::StackedBar, Unit::Count, &[Some(1), Some(2)]).with_links(vec!["/explore?p=1&c=2".into(), "/explore?p=2".into()]);
    let page = render(&spec, Target::Web);
    assert_eq!(page.matches("href=\"/explore?p=1&amp;c=2\"").count(), 2, "once in the plot, once in the table");
}

#[test]
fn a_row_opens_its_rows_too() {
    let spec = chart(Form::HorizontalBar, Unit::Count, &[Some(1), Some(2)]).with_links(vec!["/a".into(), "/b".into()]);
    let page = render(&spec, Target::Web);
    assert!(page.contains("<a class=\"hit\" href=\"/b\" aria-label=\"M1: 2\">") && page.contains("role=\"group\""));
}

#[test]
fn a_value_over_its_limit_is_marked() {
    let meter = |value: i64| {
        let spec = chart(Form::Meter, Unit::Bytes, &[Some(value << 30)]).with_series("Limit", SeriesRole::Current, vec![Some(10 << 30)]);
        render(&spec, Target::Web)
    };
    assert!(meter(5).contains("5.0 GiB of 10.0 GiB (50 %)") && meter(5).contains("f-s0"));
    assert!(meter(9).contains("f-fair"));
    assert!(meter(12).contains("f-bad") && meter(12).contains("l-text"));
}

#[test]
fn every_class_of_the_marks_has_a_style() {
    for form in FORMS {
        let spec = chart(form, Unit::Percent, &[Some(9_990), Some(9_700), Some(100), None]).with_target(9_950);
        for class in
            render(&spec, Target::Web).split("class=\"").skip(1).filter_map(|part| part.split('"').next()).flat_map(str::split_whitespace)
        {
            let is_plain = ["tick", "row-name", "row-value", "f-previous"].contains(&class) || class.starts_with("chart-");
            assert!(is_plain || STYLE.contains(&format!(".{class} ")) || STYLE.contains(&format!(".{class}")), "{class}");
        }
    }
}
