internal import Database
internal import ObjectStore
internal import ThawCore
internal import Wire

/// A name in a vault.
struct CatalogueEntry: Sendable {
    var path: ObjectKey
    /// Nil for what only the catalogue has.
    var archive: String?
    var sizeBytes: UInt64
    var tree: String
    var created: Timestamp
    var headers: ObjectHeaders
    /// Of what only the catalogue has.
    var content: [UInt8]?
    /// Of its archive, as of the latest look at the jobs.
    var retrieval: Retrieval?

    /// What only the catalogue has can be read at once: of no class that has to be restored.
    static let catalogueClass = StorageClass("Catalogue")

    var etag: String { "\"\(tree)\"" }

    var record: ObjectRecord {
        ObjectRecord(
            sizeBytes: sizeBytes, modified: created, etag: etag,
            storageClass: archive == nil ? Self.catalogueClass : .oasArchive, restore: retrieval?.header,
            versionID: archive, attributes: FileAttributes(metadata: headers.metadata))
    }

    static let columns = "path, entry.archive, size, tree, created, headers, content, job, state, completed"

    init(
        path: ObjectKey, archive: String?, sizeBytes: UInt64, tree: String, created: Timestamp,
        headers: ObjectHeaders = ObjectHeaders(), content: [UInt8]? = nil
    ) {
        self.path = path
        self.archive = archive
        self.sizeBytes = sizeBytes
        self.tree = tree
        self.created = created
        self.headers = headers
        self.content = content
    }

    /// Reads `columns` of an entry joined with its retrieval.
    init(_ row: Statement) {
        self.init(
            path: ObjectKey(row.blob(0)), archive: row.isNull(1) ? nil : row.text(1), sizeBytes: row.uint64(2),
            tree: row.text(3), created: Timestamp(nanoseconds: row.int64(4)), headers: HeadersText.decode(row.text(5)),
            content: row.isNull(6) ? nil : row.blob(6))
        if !row.isNull(8) { retrieval = Retrieval(row, from: 7) }
    }
}

/// A retrieval job of an archive, as far as it is known.
struct Retrieval: Sendable, Equatable {
    enum State: Int64, Sendable {
        /// The reply has not come.
        case asked = 0
        case inProgress = 1
        case succeeded = 2
    }

    var job: String?
    var state: State
    var completed: Timestamp?

    /// Until when the output can be read.
    var end: Timestamp? { completed.map { $0 + ArchiveRules.oasOutputLife } }
    /// By our clock.
    var hasLapsed: Bool { state == .succeeded && (end.map { $0 < Timestamp.now() } ?? false) }

    init(job: String?, state: State, completed: Timestamp? = nil) {
        self.job = job
        self.state = state
        self.completed = completed
    }

    /// Reads `job, state, completed`.
    init(_ row: Statement, from column: Int) {
        job = row.isNull(column) ? nil : row.text(column)
        state = State(rawValue: row.int64(column + 1)) ?? .asked
        completed = row.isNull(column + 2) ? nil : Timestamp(nanoseconds: row.int64(column + 2))
    }

    var header: RestoreHeader { state == .succeeded ? .restored(until: end) : .ongoing }
}

/// `ObjectHeaders` in one column.
enum HeadersText {
    static func encode(_ headers: ObjectHeaders) -> String {
        JSON.object([
            "metadata": .object(headers.metadata.mapValues { .string($0) }),
            "standard": .object(headers.standard.mapValues { .string($0) }),
        ]).text
    }

    static func decode(_ text: String) -> ObjectHeaders {
        let json = JSON(Array(text.utf8))
        func texts(_ name: String) -> [String: String] {
            guard case .object(let members)? = json?[name] else { return [:] }
            return members.compactMapValues(\.string)
        }
        return ObjectHeaders(metadata: texts("metadata"), standard: texts("standard"))
    }
}
