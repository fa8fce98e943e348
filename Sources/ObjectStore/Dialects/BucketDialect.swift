import HTTP
import ThawCore
import Wire

/// What one dialect does in its own way; `BucketStore` has all that they share.
protocol BucketDialect: Sendable {
    var dialect: Dialect { get }
    /// `x-oss-` or `x-amz-`, before names that are otherwise the same.
    var headerPrefix: String { get }
    /// The class of an object whose reply names none.
    var defaultClass: StorageClass { get }
    /// Whether an object can be given a class when it is stored; else the bucket decides.
    var namesClass: Bool { get }
    /// Whether listings, with what they say of class and restore, tell what state an object is in.
    var listsArchive: Bool { get }
    /// Sent with every listing and every read.
    var listHeaders: [(name: String, value: String)] { get }
    var readHeaders: [(name: String, value: String)] { get }
    /// With `encoding-type=url`, whether continuation tokens are encoded as well, and whether `+` is a blank.
    var encodesTokens: Bool { get }
    var encodesBlankAsPlus: Bool { get }

    /// Sent with a HEAD that is to tell the object's checksum.
    var describeHeaders: [(name: String, value: String)] { get }
    /// In requests whose replies or documents name keys.
    var keyEncodingQuery: [QueryItem] { get }
    /// The `xmlns` of documents about writing.
    var documentNamespace: String? { get }

    /// The checksum of the whole content, of a part or of an object, that a reply's headers tell.
    func checksum(_ head: HTTPResponseHead) -> UInt64?
    /// What tells the store the checksum of the bytes that follow.
    func checksumHeaders(_ checksum: UInt64) -> [(name: String, value: String)]
    /// What announces, when an upload is begun, that its parts come with checksums and make one.
    var uploadChecksumHeaders: [(name: String, value: String)] { get }
    /// What tells the store the checksum of the object that parts make.
    func completionChecksumHeaders(_ checksum: UInt64) -> [(name: String, value: String)]

    /// Adds the date, the payload's hash and the `Authorization`.
    ///
    /// - Parameter document: the body; nil for an object's bytes, which are not signed
    func sign(
        _ request: inout SignableRequest,
        document: [UInt8]?,
        _ configuration: StoreConfiguration,
        credentials: Credentials,
        date: Timestamp
    )

    func restoreBody(_ order: RestoreOrder) -> [UInt8]

    /// Reads the restore state of a listed object, if the element that the reader stands on is it; leaves
    /// other elements alone and answers false.
    func readRestoreState(_ xml: inout XMLReader, into restore: inout RestoreHeader?) throws(XMLError) -> Bool
}
