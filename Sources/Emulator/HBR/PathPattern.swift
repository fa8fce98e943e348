import Glibc

/// A path of Include or Exclude: the file itself, all below a directory, or a shell pattern. Slashes at the start do
/// not count.
struct PathPattern {
    private let pattern: String

    init(_ pattern: String) { self.pattern = "/" + pattern.drop { $0 == "/" } }

    func matches(_ path: String) -> Bool {
        let path = "/" + path.drop { $0 == "/" }
        return path == pattern || path.hasPrefix(pattern.hasSuffix("/") ? pattern : pattern + "/")
            || fnmatch(pattern, path, 0) == 0
    }
}
