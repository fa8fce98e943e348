import HTTP
import ThawCore
import Wire

extension ObjectProtection {
    /// What a HEAD says: `Retention-…` of IBM COS (IBM Cloud docs, "Immutable Object Storage"), or S3's object lock.
    /// Nil where it says nothing.
    init?(_ head: HTTPResponseHead) {
        let date = head["retention-expiration-date"] ?? head["x-amz-object-lock-retain-until-date"]
        let end = date.flatMap {
            WireDate.parseRFC1123($0) ?? WireDate.parseISO8601($0) ?? WireDate.parseBasic($0)
        }
        // -1 is until it is set, -2 for ever.
        let isUnlimited = head["retention-period"].flatMap { Int64($0) }.map { $0 < 0 } ?? false
        let holds = head["retention-legal-hold-count"].flatMap { Int($0) }
        let isHeld = head["x-amz-object-lock-legal-hold"] == "ON"
        guard end != nil || isUnlimited || holds != nil || isHeld else { return nil }
        self.init(
            retention: isUnlimited ? .unlimited : end.map { .until($0) }, legalHolds: holds ?? (isHeld ? 1 : 0))
    }
}
