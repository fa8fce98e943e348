internal import ThawCore

/// Contents that were fetched before anybody opened them. Each is opened soon or forgotten.
struct ExpectedContents {
    private var contents: [ObjectKey: (content: FileContent, since: ContinuousClock.Instant)] = [:]
    private var bytes: UInt64 = 0

    /// After this nobody is expected any more.
    private static let patience = Duration.seconds(30)

    /// Hands over what was fetched of this version.
    mutating func take(_ key: ObjectKey, _ etag: String, _ sizeBytes: UInt64) -> FileContent? {
        guard let known = contents[key]?.content, known.etag == etag, known.sizeBytes == sizeBytes else { return nil }
        return remove(key)
    }

    /// Takes a content in if there is room, which those make that nobody came for; they are to be closed.
    mutating func add(_ content: FileContent, bytesMax: Int) -> (isAdmitted: Bool, forgotten: [FileContent]) {
        let now = ContinuousClock.now
        var forgotten: [FileContent] = []
        if bytes + content.sizeBytes > bytesMax || contents.count >= Self.countMax {
            for (key, known) in contents where known.since + Self.patience < now {
                if let old = remove(key) { forgotten.append(old) }
            }
        }
        guard bytes + content.sizeBytes <= bytesMax, contents.count < Self.countMax else { return (false, forgotten) }
        if let old = remove(content.key) { forgotten.append(old) }
        contents[content.key] = (content, now)
        bytes += content.sizeBytes
        return (true, forgotten)
    }

    private static let countMax = 1024

    /// Nobody will come for it; unless he has already.
    mutating func forget(_ content: FileContent) {
        if contents[content.key]?.content === content { _ = remove(content.key) }
    }

    private mutating func remove(_ key: ObjectKey) -> FileContent? {
        guard let known = contents.removeValue(forKey: key)?.content else { return nil }
        bytes -= known.sizeBytes
        return known
    }
}
