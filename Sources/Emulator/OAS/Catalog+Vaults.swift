import Database
import ThawCore
import Wire

/// A vault, and what was in it when stock was last taken.
struct Vault: Sendable {
    var id: String
    var name: String
    var created: Timestamp
    var inventoried: Timestamp
    var archiveCount: Int64
    var sizeBytes: Int64

    var json: JSON {
        [
            "CreationDate": .string(WireDate.rfc1123(created)),
            "LastInventoryDate": .string(WireDate.rfc1123(inventoried)),
            "NumberOfArchives": JSON(archiveCount), "SizeInBytes": JSON(sizeBytes), "VaultId": .string(id),
            "VaultName": .string(name),
        ]
    }
}

struct StoredArchive: Sendable {
    var id: String
    var description: String
    var created: Timestamp
    var sizeBytes: UInt64
    /// MD5 of every mebibyte.
    var leaves: [String]
    var content: [Segment]

    var treeETag: String { TreeETag.root(of: leaves) }

    var json: JSON {
        [
            "ArchiveId": .string(id), "ArchiveDescription": .string(description),
            "CreationDate": .string(WireDate.rfc1123(created)), "Size": JSON(sizeBytes), "TreeEtag": .string(treeETag),
        ]
    }
}

extension CatalogTables {
    static let vaultSchema = """
        CREATE TABLE IF NOT EXISTS vaults(
            id TEXT PRIMARY KEY, name TEXT UNIQUE NOT NULL, created INTEGER NOT NULL, inventoried INTEGER NOT NULL,
            archives INTEGER NOT NULL, size INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS archives(
            id TEXT PRIMARY KEY, vault TEXT NOT NULL, description TEXT NOT NULL, created INTEGER NOT NULL,
            size INTEGER NOT NULL, leaves TEXT NOT NULL, content TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS archive_uploads(
            id TEXT PRIMARY KEY, vault TEXT NOT NULL, description TEXT NOT NULL, created INTEGER NOT NULL,
            part_size INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS archive_parts(
            upload TEXT NOT NULL, start INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
            leaves TEXT NOT NULL, content TEXT NOT NULL, PRIMARY KEY(upload, start)) WITHOUT ROWID;
        CREATE TABLE IF NOT EXISTS jobs(
            id TEXT PRIMARY KEY, vault TEXT NOT NULL, action TEXT NOT NULL, archive TEXT NOT NULL,
            description TEXT NOT NULL, created INTEGER NOT NULL, ready INTEGER NOT NULL, state TEXT NOT NULL,
            message TEXT NOT NULL, low INTEGER NOT NULL, high INTEGER NOT NULL, archive_size INTEGER NOT NULL,
            tree TEXT NOT NULL, leaves TEXT NOT NULL, content TEXT NOT NULL, inventory TEXT NOT NULL,
            bucket TEXT NOT NULL, object TEXT NOT NULL) WITHOUT ROWID;
        """

    /// An id that sorts by when it was made, and looks like the provider's.
    func newID() throws(ProviderError) -> String {
        let sequence = try nextSequence()
        let bytes = withUnsafeBytes(of: UInt64(sequence).bigEndian) { Array($0) }
        return Hex.encode(bytes + Digest.md5(bytes)).uppercased()
    }

    // MARK: - Vaults

    private static func vault(_ row: Statement) -> Vault {
        Vault(
            id: row.text(0), name: row.text(1), created: Timestamp(nanoseconds: row.int64(2)),
            inventoried: Timestamp(nanoseconds: row.int64(3)), archiveCount: row.int64(4), sizeBytes: row.int64(5))
    }

    func vaults() throws(ProviderError) -> [Vault] { try rows("SELECT * FROM vaults ORDER BY id", [], Self.vault) }

    func vault(_ id: String) throws(ProviderError) -> Vault {
        let found = try row("SELECT * FROM vaults WHERE id = ?1", [.text(id)], Self.vault)
        guard let found else { throw .noSuch("Vault") }
        return found
    }

    func vault(named name: String) throws(ProviderError) -> Vault? {
        try row("SELECT * FROM vaults WHERE name = ?1", [.text(name)], Self.vault)
    }

    func insert(_ vault: Vault) throws(ProviderError) {
        try run(
            "INSERT INTO vaults VALUES(?1, ?2, ?3, ?4, 0, 0)",
            [.text(vault.id), .text(vault.name), .time(vault.created), .time(vault.inventoried)])
    }

    func remove(_ vault: Vault) throws(ProviderError) {
        guard try archives(of: vault).isEmpty else {
            throw ProviderError(409, "VaultNotEmpty", "The vault is not empty.")
        }
        try run("DELETE FROM vaults WHERE id = ?1", [.text(vault.id)])
    }

    /// What the vault's description tells from now on.
    func takeStock(of vault: Vault, at now: Timestamp) throws(ProviderError) -> [StoredArchive] {
        let archives = try archives(of: vault)
        let sizeBytes = archives.reduce(0) { $0 + Int64($1.sizeBytes) }
        try run(
            "UPDATE vaults SET inventoried = ?2, archives = ?3, size = ?4 WHERE id = ?1",
            [.text(vault.id), .time(now), .int(Int64(archives.count)), .int(sizeBytes)])
        return archives
    }

    // MARK: - Archives

    private static func archive(_ row: Statement) throws(ProviderError) -> StoredArchive {
        StoredArchive(
            id: row.text(0), description: row.text(1), created: Timestamp(nanoseconds: row.int64(2)),
            sizeBytes: row.uint64(3), leaves: row.text(4).split(separator: " ").map(String.init),
            content: try content(row.text(5)))
    }

    static func content(_ text: String) throws(ProviderError) -> [Segment] {
        guard let content = [Segment](text: text) else { throw .internalError("unreadable content column") }
        return content
    }

    private static let archiveColumns = "id, description, created, size, leaves, content"

    func archives(of vault: Vault) throws(ProviderError) -> [StoredArchive] {
        try rows("SELECT \(Self.archiveColumns) FROM archives WHERE vault = ?1", [.text(vault.id)]) {
            row throws(ProviderError) in try Self.archive(row)
        }
    }

    func archive(_ id: String, in vault: Vault) throws(ProviderError) -> StoredArchive {
        let found = try row(
            "SELECT \(Self.archiveColumns) FROM archives WHERE id = ?1 AND vault = ?2", [.text(id), .text(vault.id)]
        ) { row throws(ProviderError) in try Self.archive(row) }
        guard let found else { throw .noSuch("Archive") }
        return found
    }

    func insert(_ archive: StoredArchive, in vault: Vault) throws(ProviderError) {
        try run(
            "INSERT INTO archives VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            [
                .text(archive.id), .text(vault.id), .text(archive.description), .time(archive.created),
                .int(Int64(archive.sizeBytes)), .text(archive.leaves.joined(separator: " ")),
                .text(archive.content.text),
            ])
        try retain(archive.content)
    }

    /// Answers the blobs that nothing refers to any more.
    func remove(_ archive: StoredArchive) throws(ProviderError) -> [Int64] {
        try run("DELETE FROM archives WHERE id = ?1", [.text(archive.id)])
        return try release(archive.content)
    }
}

extension ProviderError {
    /// `Vault`, `Archive`, `UploadId` or `Job`.
    static func noSuch(_ thing: String) -> ProviderError {
        ProviderError(404, "\(thing)NotExists", "The \(thing.lowercased()) does not exist.")
    }
}
