package import ThawCore

/// A restore job of Cloud Backup, as DescribeRestoreJobs2 has it.
package struct RestoreJob: Sendable, Equatable {
    /// The service's word.
    package struct Status: Hashable, Sendable, CustomStringConvertible {
        package let name: String
        package init(_ name: String) { self.name = name }

        package static let created = Status("CREATED")
        package static let queued = Status("QUEUED")
        package static let running = Status("RUNNING")
        package static let complete = Status("COMPLETE")
        /// Some of it could not be restored; the error file says what.
        package static let partlyComplete = Status("PARTIAL_COMPLETE")
        package static let failed = Status("FAILED")
        package static let cancelling = Status("CANCELING")
        package static let cancelled = Status("CANCELED")
        package static let expired = Status("EXPIRED")

        /// Nothing more happens to it.
        package var isEnded: Bool { hasRestored || hasFailed && self != .cancelling }
        /// All or some of it is at the target.
        package var hasRestored: Bool { self == .complete || self == .partlyComplete }
        /// It does not do what was wished for, or will not.
        package var hasFailed: Bool { [.failed, .cancelled, .cancelling, .expired].contains(self) }
        package var description: String { name.printable }
    }

    package var id: String
    package var type: String
    package var vault: String
    package var snapshot: String
    package var status: Status
    /// 0...1
    package var progress: Double
    package var bytesDone: UInt64
    package var bytesTotal: UInt64
    package var itemsDone: UInt64
    package var itemsTotal: UInt64
    /// `.epoch` when the service does not say.
    package var createdAt: Timestamp
    package var completedAt: Timestamp?
    package var include: [String]
    package var exclude: [String]
    package var targetBucket: String?
    package var targetPrefix: String
    package var targetInstance: String?
    package var targetPath: String
    package var targetFileSystem: String?
    package var errorMessage: String?
    /// Where the service lists what was not restored: an address or a path, as it is.
    package var errorFile: String?

    /// `Progress` is in hundredths of a percent. (The vendor's examples; its documents do not say.)
    static let progressScale = 10_000.0

    /// Nil without the members that everything depends on.
    init?(_ json: JSON) {
        guard let id = json.text("RestoreId"), let status = json.text("Status") else { return nil }
        self.id = id
        self.status = Status(status)
        type = json.text("RestoreType") ?? ""
        vault = json.text("VaultId") ?? ""
        snapshot = json.text("SnapshotId") ?? ""
        progress = min(max(Double(json.count("Progress")) / Self.progressScale, 0), 1)
        bytesDone = json.count("BytesDone")
        bytesTotal = json.count("BytesTotal")
        itemsDone = json.count("ItemsDone")
        itemsTotal = json.count("ItemsTotal")
        createdAt = json.time("CreatedTime") ?? .epoch
        completedAt = json.time("CompleteTime")
        include = json.paths("Include")
        exclude = json.paths("Exclude")
        targetBucket = json.text("TargetBucket")
        targetPrefix = json.text("TargetPrefix") ?? ""
        targetInstance = json.text("TargetInstanceId")
        targetPath = json.text("TargetPath") ?? ""
        targetFileSystem = json.text("TargetFileSystemId")
        errorMessage = json.text("ErrorMessage")
        errorFile = json.text("ErrorFile")
    }

    /// Whether it was made for this wish, which is one of `SnapshotRestore.parts`. Prefixes are compared without
    /// slashes at their ends: nothing says that the service keeps them as they were sent.
    package func does(_ part: SnapshotRestore) -> Bool {
        guard vault == part.vault, snapshot == part.snapshot, include.sorted() == part.include,
            exclude.sorted() == part.exclude
        else { return false }
        switch part.target {
        case .bucket(let bucket, let prefix):
            return targetBucket == bucket && Self.trimmed(targetPrefix) == Self.trimmed(prefix)
        case .instance(let id, let path): return targetInstance == id && targetPath == path
        case .fileSystem(let id, _): return targetFileSystem == id
        }
    }

    private static func trimmed(_ prefix: String) -> Substring {
        let start = prefix.drop { $0 == "/" }
        return start.lastIndex { $0 != "/" }.map { start[...$0] } ?? ""
    }
}

extension JSON {
    /// Nil for an empty one as well.
    func text(_ name: String) -> String? {
        switch self[name] {
        case .string(let text) where !text.isEmpty: text
        case .integer(let number): String(number)
        default: nil
        }
    }

    /// A number that is not negative; some replies have numbers as text.
    func count(_ name: String) -> UInt64 {
        if let text = self[name]?.string { return UInt64(text) ?? 0 }
        return self[name]?.int.flatMap { UInt64(exactly: $0) } ?? 0
    }

    /// Unix seconds; 0 is none.
    func time(_ name: String) -> Timestamp? {
        let seconds = count(name)
        return seconds == 0 || seconds > 9_000_000_000 ? nil : Timestamp(seconds: Int64(seconds))
    }

    /// Paths as CreateRestoreJob got them: an array in a text.
    func paths(_ name: String) -> [String] {
        guard let text = text(name) else { return [] }
        return JSON(Array(text.utf8))?.array?.compactMap(\.string) ?? [text]
    }
}
