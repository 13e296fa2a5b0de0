"""A metric at every lam, from completions sampled at a few lams, and the choice of the best lam.

The modules follow the estimator step by step:

- `sampled_lams` holds completions that were drawn at a few lams;
- `balance_heuristic` weights them toward any other lam, and says how well they cover it;
- `sampling` draws them, at further lams too where the first do not cover the range;
- `control_variates` reduces the error of the weighted means;
- `reweighting` puts these steps together to a curve;
- `tuning` chooses a lam from the curve, and `cautions` says what to be careful about.
"""
