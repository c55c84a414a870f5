//! Which route a request belongs to.

use http::Method;
use rustc_hash::FxHashMap;

use super::{
    Route, RouteId,
    path::RequestPath,
    pattern::{Pattern, Segment},
};

/// All routes as a tree of segments: finding one costs a step per segment of the path, however many routes there are.
///
/// The most specific pattern decides, from left to right: a literal before a capture before `**`. Routes of one pattern
/// share it by method.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    routes: Box<[Route]>,
    root: Node,
}

/// What stands after a number of segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Node {
    /// The texts are the configuration's: no client can choose them so that they collide.
    literals: FxHashMap<Box<str>, Node>,
    capture: Option<Box<Node>>,
    /// Routes whose pattern ends here.
    end: Vec<RouteId>,
    /// Routes whose pattern has `**` here.
    rest: Vec<RouteId>,
}

/// Why routes are no policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyFault {
    /// Two routes match the same requests, and neither is more specific.
    #[error("routes {first} and {second} can match the same request equally well")]
    Ambiguous {
        /// The place of one in the list, from 0.
        first: usize,
        /// The place of the other.
        second: usize,
    },
}

/// Where a request belongs.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found<'a> {
    /// To this route.
    Route(RouteId, &'a Route),
    /// To a pattern none of whose routes answers the method.
    OtherMethods(&'a [RouteId]),
    /// Nowhere.
    Nothing,
}

impl Policy {
    /// Arranges the routes.
    ///
    /// # Errors
    /// Every pair that could match the same request equally well.
    pub fn new(routes: Vec<Route>) -> Result<Self, Vec<PolicyFault>> {
        let mut root = Node::default();
        let mut faults = Vec::new();
        for (place, route) in routes.iter().enumerate() {
            let siblings = root.place(&route.pattern);
            let clash = |other: &&RouteId| routes.get(other.0).is_some_and(|other| methods_overlap(route, other));
            if let Some(other) = siblings.iter().find(clash) {
                faults.push(PolicyFault::Ambiguous { first: other.0, second: place });
            }
            siblings.push(RouteId(place));
        }
        if faults.is_empty() { Ok(Self { routes: routes.into(), root }) } else { Err(faults) }
    }

    /// The route at a place that this policy gave out.
    pub fn route(&self, id: RouteId) -> Option<&Route> {
        self.routes.get(id.0)
    }

    /// Every route, in the order of the configuration.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    pub(super) fn find(&self, path: &RequestPath<'_>, method: &Method) -> Found<'_> {
        let Some(here) = self.root.find(path.segments()) else { return Found::Nothing };
        for id in here {
            if let Some(route) = self.route(*id)
                && route.answers(method)
            {
                return Found::Route(*id, route);
            }
        }
        Found::OtherMethods(here)
    }

    /// The methods that a pattern's routes answer together, for `Allow`.
    pub(super) fn methods(&self, routes: &[RouteId]) -> Box<[Method]> {
        let mut methods: Vec<Method> = Vec::new();
        for method in routes.iter().filter_map(|id| self.route(*id)).flat_map(|route| &route.methods) {
            let implied = (*method == Method::GET).then_some(Method::HEAD);
            for method in [method.clone()].into_iter().chain(implied) {
                if !methods.contains(&method) {
                    methods.push(method);
                }
            }
        }
        methods.into()
    }
}

impl Node {
    /// The list of routes that a pattern belongs to, made where there is none yet.
    fn place(&mut self, pattern: &Pattern) -> &mut Vec<RouteId> {
        let mut node = self;
        for segment in pattern.segments() {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text.clone()).or_default(),
                Segment::Capture(_) => node.capture.get_or_insert_default(),
                Segment::Rest => return &mut node.rest,
            };
        }
        &mut node.end
    }

    /// The most specific list of routes for the remaining segments. Each node of the tree is visited once at most.
    fn find<'p>(&self, mut segments: impl Iterator<Item = &'p str> + Clone) -> Option<&[RouteId]> {
        let Some(segment) = segments.next() else {
            return self.ending();
        };
        if let Some(node) = self.literals.get(segment)
            && let Some(found) = node.find(segments.clone())
        {
            return Some(found);
        }
        if !segment.is_empty()
            && let Some(node) = &self.capture
            && let Some(found) = node.find(segments)
        {
            return Some(found);
        }
        (!self.rest.is_empty()).then_some(&self.rest)
    }

    fn ending(&self) -> Option<&[RouteId]> {
        [&self.end, &self.rest].into_iter().find(|routes| !routes.is_empty()).map(Vec::as_slice)
    }
}

fn methods_overlap(one: &Route, other: &Route) -> bool {
    one.methods.is_empty()
        || other.methods.is_empty()
        || one.methods.iter().any(|method| other.answers(method))
        || other.methods.iter().any(|method| one.answers(method))
}

#[cfg(test)]
mod tests {
    use super::{
        super::Access,
        super::fixture::{methods, route},
        *,
    };

    fn policy(patterns: &[&str]) -> Result<Policy, Vec<PolicyFault>> {
        Policy::new(patterns.iter().map(|pattern| route(pattern, Access::SignedIn)).collect())
    }

    fn found(policy: &Policy, path: &str) -> Option<usize> {
        match policy.find(&RequestPath::parse(path).unwrap(), &Method::GET) {
            Found::Route(id, _) => Some(id.0),
            Found::OtherMethods(_) | Found::Nothing => None,
        }
    }

    #[test]
    fn the_most_specific_pattern_decides_whatever_the_order() {
        let patterns = ["/**", "/api/{user}/**", "/api/{user}/tasks", "/api/health", "/api/{user}/", "/x", "/x/**"];
        let mut reversed = patterns;
        reversed.reverse();
        for patterns in [patterns, reversed] {
            let policy = policy(&patterns).unwrap();
            for (path, expected) in [
                ("/", "/**"),
                ("/other", "/**"),
                ("/api", "/**"),
                ("/api/", "/**"),
                ("/api/alice", "/api/{user}/**"),
                ("/api/alice/x", "/api/{user}/**"),
                ("/api/alice/tasks/", "/api/{user}/**"),
                ("/api/alice/tasks", "/api/{user}/tasks"),
                ("/api/health", "/api/health"),
                ("/api/health/x", "/api/{user}/**"),
                ("/api/alice/", "/api/{user}/"),
                ("/x", "/x"),
                ("/x/", "/x/**"),
                ("/x/y/z", "/x/**"),
            ] {
                assert_eq!(found(&policy, path).map(|place| patterns[place]), Some(expected), "{path}");
            }
        }
    }

    #[test]
    fn a_literal_that_leads_nowhere_gives_way_to_a_capture() {
        let policy = policy(&["/a/b/c", "/{x}/b/d"]).unwrap();
        assert_eq!(found(&policy, "/a/b/d"), Some(1));
        assert_eq!(found(&policy, "/a/b/e"), None);
    }

    #[test]
    fn a_capture_is_never_empty() {
        let policy = policy(&["/api/{user}"]).unwrap();
        assert_eq!(found(&policy, "/api/"), None);
    }

    #[test]
    fn rows_31_and_42_a_prefix_is_whole_segments() {
        let policy = policy(&["/public/**", "/health"]).unwrap();
        for path in ["/public..", "/publicity", "/healthXapi/bob", "/healthz", "/health/x"] {
            assert_eq!(found(&policy, path), None, "{path}");
        }
    }

    #[test]
    fn patterns_that_differ_in_capture_names_alone_are_ambiguous() {
        let faults = policy(&["/api/{a}/x", "/other", "/api/{b}/x", "/other"]).unwrap_err();
        assert_eq!(
            faults,
            [PolicyFault::Ambiguous { first: 0, second: 2 }, PolicyFault::Ambiguous { first: 1, second: 3 }]
        );
    }

    #[test]
    fn one_pattern_may_be_shared_by_method() {
        let with = |names: &[&str]| {
            let mut route = route("/a", Access::SignedIn);
            route.methods = methods(names);
            route
        };
        let policy = Policy::new(vec![with(&["GET"]), with(&["POST", "PUT"])]).unwrap();
        let path = RequestPath::parse("/a").unwrap();
        assert!(matches!(policy.find(&path, &Method::PUT), Found::Route(RouteId(1), _)));
        assert!(matches!(policy.find(&path, &Method::HEAD), Found::Route(RouteId(0), _)));
        let Found::OtherMethods(ids) = policy.find(&path, &Method::DELETE) else { panic!("DELETE was routed") };
        assert_eq!(policy.methods(ids), methods(&["GET", "HEAD", "POST", "PUT"]));
        assert!(Policy::new(vec![with(&["GET"]), with(&[])]).is_err());
        assert!(Policy::new(vec![with(&["GET"]), with(&["HEAD"])]).is_err());
    }
}
