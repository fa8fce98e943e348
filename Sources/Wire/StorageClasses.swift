extension StorageClass {
    /// The classes that an object can be given when it is stored.
    ///
    /// Sources: Alibaba Cloud OSS, "PutObject" (`x-oss-storage-class`); S3 API Reference, "PutObject"
    /// (`x-amz-storage-class`), without those of other products; IBM COS, "Archive cold data" (`ACCELERATED`). At IBM
    /// itself the bucket decides, and its lifecycle rules: an object is given none.
    package static func known(in dialect: Dialect) -> [StorageClass] {
        let names: [String] =
            switch dialect {
            case .oss: ["Standard", "IA", "Archive", "ColdArchive", "DeepColdArchive"]
            case .oas: ["Archive"]
            case .s3:
                [
                    "STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "GLACIER",
                    "DEEP_ARCHIVE", "REDUCED_REDUNDANCY", "EXPRESS_ONEZONE", "ACCELERATED",
                ]
            case .cos: []
            }
        return names.map { StorageClass($0) }
    }

    /// The class of this name, whatever its case; nil when the dialect has none.
    package init?(spelledLike text: String, in dialect: Dialect) {
        let known = Self.known(in: dialect).first { $0.name.lowercased() == text.lowercased() }
        guard let known else { return nil }
        self = known
    }
}
