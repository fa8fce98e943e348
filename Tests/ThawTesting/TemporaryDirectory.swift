internal import Glibc
internal import ThawCore

/// A directory of a test's own, removed with all that is in it when the last reference goes.
package final class TemporaryDirectory: Sendable {
    package let path: String

    package init() throws {
        var template = Array("/tmp/thaw-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure(errno: errno) }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit { Self.remove(path) }

    package struct Failure: Error { package let errno: Int32 }

    /// What the directory holds, sorted.
    package var names: [String] { Self.names(path) }

    /// Another one with copies of these files as they are now.
    package func copy(of names: [String]) throws -> TemporaryDirectory {
        let other = try TemporaryDirectory()
        for name in names {
            let input = open(path + "/" + name, O_RDONLY)
            let output = open(other.path + "/" + name, O_WRONLY | O_CREAT, 0o600)
            defer {
                close(input)
                close(output)
            }
            guard input >= 0, output >= 0 else { throw Failure(errno: errno) }
            var buffer = [UInt8](repeating: 0, count: 1 << 20)
            while case let count = read(input, &buffer, buffer.count), count > 0 {
                guard write(output, buffer, count) == count else { throw Failure(errno: errno) }
            }
        }
        return other
    }

    private static func names(_ path: String) -> [String] {
        guard let directory = opendir(path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }

    private static func remove(_ path: String) {
        for name in names(path) { remove(path + "/" + name) }
        if rmdir(path) != 0 { unlink(path) }
    }
}
