import ThawCore
import Wire

/// What listings of objects and of versions say alike of one, while the document is read. Elements may come in any
/// order, so nothing is decoded before the last.
struct ListEntry {
    var key: [UInt8]?
    var sizeBytes: UInt64?
    var modified: Timestamp?
    var etag: String?
    var storageClass: StorageClass?
    var restore: RestoreHeader?
    /// In listings of versions.
    var versionID: String?
    var isLatest = false

    /// Reads the children of the element that the reader stands on.
    init(_ xml: inout XMLReader, _ dialect: any BucketDialect) throws(XMLError) {
        while try xml.nextChild() {
            if xml.isNamed("Key") {
                key = try xml.text()
            } else if xml.isNamed("Size") {
                sizeBytes = fileOffset(try xml.string())
            } else if xml.isNamed("LastModified") {
                modified = WireDate.parseISO8601(try xml.string())
            } else if xml.isNamed("ETag") {
                etag = try xml.string()
            } else if xml.isNamed("StorageClass") {
                storageClass = StorageClass(try xml.string())
            } else if xml.isNamed("VersionId") {
                versionID = try xml.string()
            } else if xml.isNamed("IsLatest") {
                isLatest = try xml.string() == "true"
            } else if try !dialect.readRestoreState(&xml, into: &restore) {
                try xml.skip()
            }
        }
    }
}

/// How a listing writes its keys, and how it is told that they cannot be right.
struct ListEncoding {
    let dialect: any BucketDialect
    /// `encoding-type=url`
    var isURL = false

    func decoded(_ text: [UInt8]) throws(ListProblem) -> [UInt8] {
        guard isURL else { return text }
        guard let bytes = PercentEncoding.decode(text, plusAsBlank: dialect.encodesBlankAsPlus) else {
            throw ListProblem(reason: "malformed percent-encoding in \(ObjectKey(text))")
        }
        return bytes
    }

    func key(of entry: ListEntry) throws(ListProblem) -> ObjectKey {
        guard let encoded = entry.key else { throw ListProblem(reason: "an object without a key") }
        return ObjectKey(try decoded(encoded))
    }

    func record(of entry: ListEntry, _ key: ObjectKey) throws(ListProblem) -> ObjectRecord {
        guard let sizeBytes = entry.sizeBytes, let modified = entry.modified, let etag = entry.etag else {
            throw ListProblem(reason: "\(key) is listed without a size, a date or an entity tag that can be read")
        }
        return ObjectRecord(
            sizeBytes: sizeBytes,
            modified: modified,
            etag: etag,
            storageClass: entry.storageClass ?? dialect.defaultClass,
            restore: entry.restore,
            archiveStatus: dialect.listsArchive ? nil : ObjectRecord.unlistedStatus,
            versionID: entry.versionID
        )
    }
}

/// Why a document is not a page of a listing.
struct ListProblem: Error, Equatable { let reason: String }
