import Glibc
import ThawCore

/// An ini file as the vendors' tools write them: sections, and settings with names in lowercase.
struct Profiles: Equatable {
    private(set) var sections: [String: [String: String]] = [:]

    init(_ text: String) {
        var section = ""
        var hasNested = false
        for line in text.split(whereSeparator: \.isNewline) {
            let content = trim(line)
            if content.isEmpty || content.hasPrefix("#") || content.hasPrefix(";") { continue }
            if content.hasPrefix("["), let end = content.firstIndex(of: "]") {
                section = trim(content[content.index(after: content.startIndex)..<end])
                sections[section, default: [:]] = sections[section] ?? [:]
                hasNested = false
                continue
            }
            guard let equals = content.firstIndex(of: "=") else { continue }
            // Below a setting without a value, indented lines are settings of their own kind (`s3 =`).
            if hasNested && line.first?.isWhitespace == true { continue }
            let value = trim(content[content.index(after: equals)...])
            hasNested = value.isEmpty
            sections[section, default: [:]][trim(content[..<equals]).lowercased()] = value
        }
    }

    /// Reads a file; nil when there is none.
    static func read(_ path: String) throws(CredentialsError) -> Profiles? {
        try readFile(path).map { Profiles(String(decoding: $0, as: UTF8.self)) }
    }
}

private func trim(_ text: some StringProtocol) -> String {
    let start = text.drop(while: \.isWhitespace)
    return String(String(start.reversed().drop(while: \.isWhitespace)).reversed())
}

/// A small file whole; nil when there is none.
func readFile(_ path: String) throws(CredentialsError) -> [UInt8]? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else {
        if errno == ENOENT || errno == ENOTDIR { return nil }
        throw CredentialsError("\(path): \(errorText(errno))")
    }
    defer { close(file) }
    var content: [UInt8] = []
    while true {
        var buffer = [UInt8](repeating: 0, count: 16384)
        let count = buffer.withUnsafeMutableBytes { read(file, $0.baseAddress, $0.count) }
        if count < 0 && errno == EINTR { continue }
        guard count >= 0 else { throw CredentialsError("\(path): \(errorText(errno))") }
        if count == 0 { return content }
        content += buffer[..<count]
        guard content.count <= 1 << 20 else {
            throw CredentialsError("\(path) is too large for a credentials file")
        }
    }
}
