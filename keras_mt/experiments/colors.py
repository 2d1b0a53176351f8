"""The colors of all figures: one for each network, one for each method; color-blind safe (Okabe & Ito; Tol)."""

STUDENT = "#E69F00"
TEACHER = "#0072B2"
AVERAGE = "#56B4E9"
SUPERVISED = "#000000"

NETWORKS = {"student": STUDENT, "teacher": TEACHER, "average": AVERAGE}
METHODS = {"supervised": SUPERVISED, "pi": "#CC79A7", "temporal_ensembling": "#009E73", "mean_teacher": TEACHER}
# For what has no color of its own, in this order.
OTHERS = ("#D55E00", "#F0E442", "#882255", "#999999")
