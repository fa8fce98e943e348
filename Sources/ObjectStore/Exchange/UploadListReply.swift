import ThawCore
import Wire

/// The reply to ListMultipartUploads.
struct UploadListReply {
    private(set) var uploads: [IncompleteUpload] = []
    /// What the next page begins after; nil when this one is the last.
    private(set) var next: UploadMarker?

    init(_ body: [UInt8], _ dialect: any BucketDialect) throws(ListProblem) {
        var encoding = ListEncoding(dialect: dialect)
        var entries: [Entry] = []
        var isTruncated = false
        var (key, id): ([UInt8], String) = ([], "")
        do throws(XMLError) {
            var xml = try XMLReader(body)
            guard xml.isNamed("ListMultipartUploadsResult") else {
                throw XMLError(reason: "<\(xml.localName)> where a listing of uploads was expected", offset: 0)
            }
            while try xml.nextChild() {
                if xml.isNamed("Upload") {
                    entries.append(try Entry(&xml))
                } else if xml.isNamed("IsTruncated") {
                    isTruncated = try xml.string() == "true"
                } else if xml.isNamed("NextKeyMarker") {
                    key = try xml.text()
                } else if xml.isNamed("NextUploadIdMarker") {
                    id = try xml.string()
                } else if xml.isNamed("EncodingType") {
                    encoding.isURL = try xml.string() == "url"
                } else {
                    try xml.skip()
                }
            }
            try xml.finish()
        } catch {
            throw ListProblem(reason: error.description)
        }
        for entry in entries {
            uploads.append(
                IncompleteUpload(
                    key: ObjectKey(try encoding.decoded(entry.key)), id: entry.id, initiated: entry.initiated,
                    storageClass: entry.storageClass))
        }
        guard isTruncated else { return }
        guard !key.isEmpty else { throw ListProblem(reason: "the listing goes on but names no key to go on after") }
        next = UploadMarker(key: ObjectKey(try encoding.decoded(key)), id: id)
    }

    private struct Entry {
        var key: [UInt8] = []
        var id = ""
        var initiated: Timestamp?
        var storageClass: String?

        init(_ xml: inout XMLReader) throws(XMLError) {
            while try xml.nextChild() {
                if xml.isNamed("Key") {
                    key = try xml.text()
                } else if xml.isNamed("UploadId") {
                    id = try xml.string()
                } else if xml.isNamed("Initiated") {
                    initiated = WireDate.parseISO8601(try xml.string())
                } else if xml.isNamed("StorageClass") {
                    storageClass = try xml.string()
                } else {
                    try xml.skip()
                }
            }
        }
    }
}

/// A place in a listing of uploads.
struct UploadMarker: Sendable, Equatable {
    var key: ObjectKey
    var id: String
}
