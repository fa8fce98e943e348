internal import ThawCore
internal import Wire

/// A kind of data that is backed up, and the place that it is restored to: both must be of one kind.
package enum BackupType: String, CaseIterable, Sendable {
    case oss = "OSS"
    case files = "ECS_FILE"
    case nas = "NAS"
}

/// What is to be restored of a snapshot, and where to. Equal wishes ask for the same.
package struct SnapshotRestore: Hashable, Sendable {
    package enum Target: Hashable, Sendable {
        /// The prefix is empty or ends in `/`.
        case bucket(String, prefix: String)
        /// A path of an ECS instance.
        case instance(String, path: String)
        /// A NAS file system, and when it was made (Unix seconds).
        case fileSystem(String, createdAt: Int64)
    }

    /// Whose data it is, when it is not this account's.
    package struct ForeignAccount: Hashable, Sendable {
        package var userID: String
        /// The RAM role in that account which lets this one in.
        package var role: String

        package init(userID: String, role: String) {
            self.userID = userID
            self.role = role
        }
    }

    package var vault: String
    package var snapshot: String
    package var target: Target
    /// Paths in the snapshot: all of it, if there are none.
    package let include: [String]
    package let exclude: [String]
    package var account: ForeignAccount?

    /// Order and repetition of paths say nothing, and are not kept.
    package init(
        vault: String, snapshot: String, target: Target, include: [String] = [], exclude: [String] = [],
        account: ForeignAccount? = nil
    ) {
        self.vault = vault
        self.snapshot = snapshot
        self.target = target
        self.include = Set(include).sorted()
        self.exclude = Set(exclude).sorted()
        self.account = account
    }

    package var type: BackupType {
        switch target {
        case .bucket: .oss
        case .instance: .files
        case .fileSystem: .nas
        }
    }

    /// How long `Include` and `Exclude` may be, each with its brackets and quotes. (CreateRestoreJob, "1 to 255
    /// characters"; whether surrogates count twice is not said, and they do here.)
    package static let pathsLengthMax = 255

    /// The jobs that it takes: as few as hold all paths within the service's limit. Always the same for the same wish.
    package func parts() throws(BackupError) -> [SnapshotRestore] {
        guard Self.length(exclude) <= Self.pathsLengthMax else {
            throw BackupError(
                .invalid, code: "ExcludeTooLong",
                message: "the paths to exclude are longer than \(Self.pathsLengthMax) characters together, which is the service's limit"
            )
        }
        var groups: [[String]] = [[]]
        for path in include {
            guard Self.length([path]) <= Self.pathsLengthMax else {
                throw BackupError(
                    .invalid, code: "IncludeTooLong",
                    message: "a path is longer than the service's limit of \(Self.pathsLengthMax) characters: \(path.printable)")
            }
            if Self.length(groups[groups.count - 1] + [path]) > Self.pathsLengthMax { groups.append([]) }
            groups[groups.count - 1].append(path)
        }
        return groups.map {
            SnapshotRestore(
                vault: vault, snapshot: snapshot, target: target, include: $0, exclude: exclude, account: account)
        }
    }

    private static func length(_ paths: [String]) -> Int { Self.text(paths)?.utf16.count ?? 0 }

    /// As `Include` and `Exclude` go over the wire; nil for none.
    static func text(_ paths: [String]) -> String? {
        paths.isEmpty ? nil : JSON.array(paths.map { .string($0) }).text
    }

    var query: [QueryItem] {
        var items = [
            QueryItem("RestoreType", type.rawValue), QueryItem("SourceType", type.rawValue),
            QueryItem("VaultId", vault), QueryItem("SnapshotId", snapshot),
        ]
        switch target {
        case .bucket(let bucket, let prefix):
            items += [QueryItem("TargetBucket", bucket), QueryItem("TargetPrefix", prefix)]
        case .instance: break
        case .fileSystem(let id, let createdAt):
            items += [QueryItem("TargetFileSystemId", id), QueryItem("TargetCreateTime", String(createdAt))]
        }
        if let account {
            items += [
                QueryItem("CrossAccountType", "CROSS_ACCOUNT"), QueryItem("CrossAccountUserId", account.userID),
                QueryItem("CrossAccountRoleName", account.role),
            ]
        }
        return items
    }

    /// What the vendor's SDK puts into the body.
    var form: [QueryItem] {
        var items: [QueryItem] = []
        if let include = Self.text(include) { items.append(QueryItem("Include", include)) }
        if let exclude = Self.text(exclude) { items.append(QueryItem("Exclude", exclude)) }
        if case .instance(let id, let path) = target {
            items += [QueryItem("TargetInstanceId", id), QueryItem("TargetPath", path)]
        }
        return items
    }
}
