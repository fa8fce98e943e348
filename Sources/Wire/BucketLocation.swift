/// Where a bucket of IBM COS is and which class its objects have, which IBM names in one word: `us-south-vault`.
///
/// Source: IBM Cloud docs, "Use storage classes" (provisioning codes; `flex` is older).
package struct BucketLocation: Equatable, Sendable {
    package static let classes = ["standard", "vault", "cold", "smart", "flex", "onerate_active"]

    package let place: String
    package let storageClass: String

    /// Nil for a class that there is not.
    package init?(place: String, storageClass: String) {
        guard !place.isEmpty, Self.classes.contains(storageClass) else { return nil }
        self.place = place
        self.storageClass = storageClass
    }

    /// Nil for a word that does not end in a class.
    package init?(_ constraint: String) {
        let constraint = constraint.trimmed
        let found = Self.classes.first { constraint.hasSuffix("-" + $0) }
        guard let found else { return nil }
        self.init(place: String(constraint.dropLast(found.utf8.count + 1)), storageClass: found)
    }

    package var constraint: String { "\(place)-\(storageClass)" }
}
