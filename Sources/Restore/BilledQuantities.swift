internal import Metadata
internal import ObjectStore
package import ThawCore
internal import Wire

/// What a provider counts for restoring the objects of one class with one order. Quantities, not prices: those differ
/// by region and contract.
package struct BilledQuantities: Sendable, Equatable {
    /// Retrieval requests, at the tier's price; nil where they are not counted apart from ordinary requests.
    package var requests: Int?
    /// Bytes retrieved, at the tier's price; nil where that is free.
    package var bytes: UInt64?
    /// Bytes of temporary copies times the days they are kept, at the price of hot storage; nil where there is no copy
    /// that is billed. At most `UInt64.max`.
    package var byteDays: UInt64?

    package var json: JSON {
        [
            "retrieval_requests": JSON(requests), "retrieved_bytes": bytes.map { JSON($0) } ?? .null,
            "temporary_copy_byte_days": byteDays.map { JSON($0) } ?? .null,
        ]
    }
}

extension Survey.Row {
    /// For what would be asked for. A copy that is to last longer is not retrieved again, but kept.
    package var billed: BilledQuantities {
        switch storageClass.name {
        case "Archive":
            // OSS documents a fee by bytes retrieved for Archive, and retrieval requests and temporary storage
            // (TempStorageCAStd) for ColdArchive and DeepColdArchive only.
            return BilledQuantities(requests: nil, bytes: frozen.bytes, byteDays: nil)
        case "INTELLIGENT_TIERING":
            // The object moves back to its frequent tier: no copy, and only Expedited is charged (S3 User Guide,
            // "Archive retrieval options").
            let isCharged = order.tier == .expedited
            return BilledQuantities(
                requests: isCharged ? frozen.objects : nil, bytes: isCharged ? frozen.bytes : nil, byteDays: nil)
        default:
            let kept = (frozen + extended).bytes.multipliedReportingOverflow(by: UInt64(order.days ?? 0))
            return BilledQuantities(
                requests: frozen.objects, bytes: frozen.bytes, byteDays: kept.overflow ? .max : kept.partialValue)
        }
    }
}
