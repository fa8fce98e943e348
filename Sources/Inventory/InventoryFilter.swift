internal import Wire

/// What a bucket's inventory leaves out of its reports, which do not say so themselves.
enum InventoryFilter {
    /// Why a report of this configuration does not stand for a listing; nil if it may.
    ///
    /// Sources: S3 API Reference, `InventoryFilter` (a prefix); Alibaba Cloud OSS, `PutBucketInventory` (prefix, times,
    /// sizes, and a class, of which `All` is none).
    static func problem(_ configuration: [UInt8], id: String) -> InventoryProblem? {
        guard let filter = (try? XMLElement(document: configuration))?["Filter"] else { return nil }
        let others = filter.children.filter { $0.name != "Prefix" && !["", "All"].contains($0.text) }
        let what = "the bucket's inventory “\(id)” leaves objects out"
        if !others.isEmpty {
            let names = others.map { "\($0.name) \($0.text)" }.joined(separator: ", ")
            return InventoryProblem(reason: "\(what) (\(names)), so that a report is no listing")
        }
        let prefix = filter["Prefix"]?.text ?? ""
        guard !prefix.isEmpty, !prefix.hasSuffix("/") else { return nil }
        return InventoryProblem(reason: "\(what) of directories (Prefix \(prefix)); name one that ends in /")
    }
}
