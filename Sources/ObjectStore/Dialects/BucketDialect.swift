import ThawCore
import Wire

/// What one dialect does in its own way; `BucketStore` has all that they share.
protocol BucketDialect: Sendable {
    var dialect: Dialect { get }
    /// `x-oss-` or `x-amz-`, before names that are otherwise the same.
    var headerPrefix: String { get }
    /// The class of an object whose reply names none.
    var defaultClass: StorageClass { get }
    /// Sent with every listing and every read.
    var listHeaders: [(name: String, value: String)] { get }
    var readHeaders: [(name: String, value: String)] { get }
    /// With `encoding-type=url`, whether continuation tokens are encoded as well, and whether `+` is a blank.
    var encodesTokens: Bool { get }
    var encodesBlankAsPlus: Bool { get }

    /// Adds the date, the payload's hash and the `Authorization`.
    func sign(
        _ request: inout SignableRequest,
        body: [UInt8],
        _ configuration: StoreConfiguration,
        credentials: Credentials,
        date: Timestamp
    )

    func restoreBody(_ order: RestoreOrder) -> [UInt8]

    /// Reads the restore state of a listed object, if the element that the reader stands on is it; leaves
    /// other elements alone and answers false.
    func readRestoreState(_ xml: inout XMLReader, into restore: inout RestoreHeader?) throws(XMLError) -> Bool
}
