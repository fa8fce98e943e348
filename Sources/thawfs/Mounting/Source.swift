import ThawCore
import Wire

/// What is mounted: `oss://bucket/prefix`, or `oss://` for all buckets of the account; likewise `s3://`, `cos://`, and
/// `oas://`, where a vault counts as a bucket.
struct Source {
    let text: String
    let dialect: Dialect
    /// Nil for the account.
    let bucket: String?
    /// Empty, or ends in `/`.
    let prefix: ObjectKey

    init(_ text: String) throws {
        guard let mark = text.range(of: "://"), let dialect = Dialect(rawValue: String(text[..<mark.lowerBound])) else {
            throw UsageError("source “\(text)”: expected oss://, s3://, cos:// or oas://, then [BUCKET[/PREFIX]]")
        }
        let parts = text[mark.upperBound...].split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        let bucket = parts.first ?? ""
        guard !bucket.isEmpty || parts.count == 1 else {
            throw UsageError("source “\(text)”: the bucket is missing, expected \(dialect.rawValue)://BUCKET[/PREFIX]")
        }
        var prefix = parts.count == 2 ? String(parts[1]) : ""
        if !prefix.isEmpty, !prefix.hasSuffix("/") { prefix += "/" }
        self.text = text
        self.dialect = dialect
        self.bucket = bucket.isEmpty ? nil : String(bucket)
        self.prefix = ObjectKey(prefix)
    }
}

extension String {
    /// The first place of a piece of text, without Foundation.
    fileprivate func range(of piece: String) -> Range<String.Index>? {
        guard let bytes = utf8.firstRange(of: piece.utf8) else { return nil }
        return bytes
    }
}
