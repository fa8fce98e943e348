package import ThawCore

/// A backup vault.
package struct Vault: Sendable, Equatable {
    package var id: String
    package var name: String
    package var region: String
    /// What it is for, as the service words it: `STANDARD`, `OTS_BACKUP`.
    package var type: String
    package var status: String
    package var storageClass: String
    package var bytesDone: UInt64
    package var createdAt: Timestamp?

    init?(_ json: JSON) {
        guard let id = json.text("VaultId") else { return nil }
        self.id = id
        name = json.text("VaultName") ?? ""
        region = json.text("VaultRegionId") ?? ""
        type = json.text("VaultType") ?? ""
        status = json.text("Status") ?? ""
        storageClass = json.text("VaultStorageClass") ?? ""
        bytesDone = json.count("BytesDone")
        createdAt = json.time("CreatedTime")
    }
}

/// A backup snapshot.
package struct Snapshot: Sendable, Equatable {
    package var id: String
    /// Calls that take it may want it; it is sent along wherever it is known.
    package var hash: String?
    package var vault: String
    package var type: String
    package var status: String
    /// Where the data came from: a bucket and prefix, an instance or a file system, and a path.
    package var origin: String
    package var bytes: UInt64
    package var items: UInt64
    /// `STANDARD`, or `ARCHIVE`: restoring it takes longer.
    package var storageClass: String
    package var createdAt: Timestamp?
    package var completedAt: Timestamp?
    package var expiresAt: Timestamp?

    package var isUsable: Bool { status == "COMPLETE" || status == "PARTIAL_COMPLETE" }

    init?(_ json: JSON) {
        guard let id = json.text("SnapshotId") else { return nil }
        self.id = id
        hash = json.text("SnapshotHash")
        vault = json.text("VaultId") ?? ""
        type = json.text("SourceType") ?? ""
        status = json.text("Status") ?? ""
        let place = ["Bucket", "InstanceId", "FileSystemId"].lazy.compactMap { json.text($0) }.first ?? ""
        let path = json.text("Prefix") ?? json.text("Path") ?? ""
        origin = path.isEmpty ? place : place.isEmpty ? path : "\(place)/\(path.drop { $0 == "/" })"
        bytes = json.count("BytesTotal")
        items = json.count("ItemsTotal")
        storageClass = json.text("StorageClass") ?? ""
        createdAt = json.time("CreatedTime")
        completedAt = json.time("CompleteTime")
        expiresAt = json.time("ExpireTime")
    }
}

/// Which snapshots are looked for.
package struct SnapshotSearch: Sendable, Equatable {
    package var vault: String
    package var type: BackupType
    /// The bucket that was backed up, for `.oss`; the documents want it, the service's example goes without.
    package var bucket: String?
    /// For `.files`.
    package var instance: String?
    /// For `.nas`, with the time at which it was made (Unix seconds).
    package var fileSystem: String?
    package var fileSystemCreatedAt: Int64?

    package init(vault: String, type: BackupType = .oss) {
        self.vault = vault
        self.type = type
    }

    /// The condition that all of these fields are equal.
    var query: JSON {
        let fields = [
            ("VaultId", vault), ("Bucket", bucket), ("InstanceId", instance), ("FileSystemId", fileSystem),
            ("CreateTime", fileSystemCreatedAt.map { String($0) }),
        ]
        return .array(
            fields.compactMap { name, value in
                value.map { ["field": .string(name), "value": .string($0), "operation": "MATCH_TERM"] }
            })
    }
}
